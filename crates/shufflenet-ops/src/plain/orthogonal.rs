//! [`crate::orthogonal`] in plain Burn operations.

use burn::tensor::Tensor;
use shufflenet_kernels::orthogonal::{EPSILON, QUINTIC, is_long};

/// The iterations in plain Burn operations, for every backend. The nearest orthogonal matrix of a transpose is
/// the transpose of the nearest one.
pub(crate) fn plain(stack: Tensor<3>, iterations: usize) -> Tensor<3> {
    let [_, rows, columns] = stack.dims();
    let tall = rows > columns;
    let x = if tall { stack.transpose() } else { stack };
    let squares = x.clone() * x.clone();
    let norm = squares.sum_dims(&[1, 2]).sqrt().clamp_min(EPSILON);
    let x = x / norm;
    let x = match is_long([rows, columns]) {
        true => by_gram_matrix(x, iterations),
        false => by_products(x, iterations),
    };
    if tall { x.transpose() } else { x }
}

pub(crate) fn by_products(mut x: Tensor<3>, iterations: usize) -> Tensor<3> {
    let [a, b, c] = QUINTIC;
    for _ in 0..iterations {
        let gram = x.clone().matmul(x.clone().transpose());
        let polynomial = gram.clone().mul_scalar(b) + gram.clone().matmul(gram).mul_scalar(c);
        x = x.clone().mul_scalar(a) + polynomial.matmul(x);
    }
    x
}

pub(crate) fn by_gram_matrix(x: Tensor<3>, iterations: usize) -> Tensor<3> {
    let [a, b, c] = QUINTIC;
    let mut gram = x.clone().matmul(x.clone().transpose());
    let a = Tensor::<2>::eye(gram.dims()[1], &x.device()).mul_scalar(a);
    let mut product = None;
    for iteration in 1..=iterations {
        let square = gram.clone().matmul(gram.clone()).mul_scalar(c);
        let polynomial = a.clone().unsqueeze() + gram.clone().mul_scalar(b) + square;
        if iteration < iterations {
            gram = polynomial.clone().matmul(gram).matmul(polynomial.clone());
        }
        product = Some(match product {
            None => polynomial,
            Some(product) => polynomial.matmul(product),
        });
    }
    match product {
        Some(product) => product.matmul(x),
        None => x,
    }
}
