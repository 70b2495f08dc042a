//! Nearly the nearest orthogonal matrix, by Newton and Schulz with Jordan's quintic (Jordan et al., 2024,
//! [Muon](https://kellerjordan.github.io/posts/muon/)): what the optimizer Muon moves weights along.
//!
//! With `x` a matrix no higher than wide, divided by its Frobenius norm, five times
//!
//! ```text
//! g = x x'
//! x = (a + b g + c g g) x
//! ```
//!
//! after which every singular value that was not tiny lies between 0.7 and 1.2, and the singular vectors are
//! what they were. Each step multiplies by a polynomial of `g`, and all of these commute; so where `x` is much
//! wider than high the small matrices are iterated alone, `g = p g p` with `p` the polynomial, and `x` is
//! multiplied once by the product of all `p`.

use burn::tensor::{DType, Device, Tensor};

use crate::flex;

pub(crate) const ITERATIONS: usize = 5;
/// Jordan's coefficients: the steepest slope at zero that still ends near 1.
pub(crate) const QUINTIC: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// The least norm that is divided by.
pub(crate) const EPSILON: f32 = 1e-7;

/// Whether a matrix is so much longer one way than the other that its Gram matrix is iterated alone: five
/// iterations of that are four products of small matrices each, and two of large ones in all.
pub(crate) fn is_long([rows, columns]: [usize; 2]) -> bool {
    2 * rows.min(columns) <= rows.max(columns)
}

/// Nearly the orthogonal matrices nearest to those of a stack, each for itself (see the [module](self)). Outside
/// the autodiff graph.
///
/// # Shapes
/// - `stack`: `[matrices, rows, columns]`, float32
/// - output: the same
pub fn orthogonal(stack: Tensor<3>) -> Tensor<3> {
    match stack.dtype() == DType::F32 && stack.device() == Device::flex() {
        true => flex::orthogonal::orthogonal(stack),
        false => plain(stack),
    }
}

/// In plain Burn, for every backend. The nearest to a transpose is the transpose of the nearest.
fn plain(stack: Tensor<3>) -> Tensor<3> {
    let [_, rows, columns] = stack.dims();
    let tall = rows > columns;
    let x = if tall { stack.transpose() } else { stack };
    let squares = x.clone() * x.clone();
    let norm = squares.sum_dims(&[1, 2]).sqrt().clamp_min(EPSILON);
    let x = x / norm;
    let x = match is_long([rows, columns]) {
        true => by_gram_matrix(x),
        false => by_products(x),
    };
    if tall { x.transpose() } else { x }
}

fn by_products(mut x: Tensor<3>) -> Tensor<3> {
    let [a, b, c] = QUINTIC;
    for _ in 0..ITERATIONS {
        let gram = x.clone().matmul(x.clone().transpose());
        let polynomial = gram.clone().mul_scalar(b) + gram.clone().matmul(gram).mul_scalar(c);
        x = x.clone().mul_scalar(a) + polynomial.matmul(x);
    }
    x
}

fn by_gram_matrix(x: Tensor<3>) -> Tensor<3> {
    let [a, b, c] = QUINTIC;
    let mut gram = x.clone().matmul(x.clone().transpose());
    let a = Tensor::<2>::eye(gram.dims()[1], &x.device()).mul_scalar(a);
    let mut product = None;
    for iteration in 1..=ITERATIONS {
        let square = gram.clone().matmul(gram.clone()).mul_scalar(c);
        let polynomial = a.clone().unsqueeze() + gram.clone().mul_scalar(b) + square;
        if iteration < ITERATIONS {
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

#[cfg(test)]
mod tests {
    use burn::tensor::{TensorData, Tolerance};

    use super::*;

    /// Numbers without a pattern, another for each matrix.
    fn stack(shape: [usize; 3]) -> Tensor<3> {
        let number = |i: usize| (i * i * 7919 % 1_009) as f32 / 504.5 - 1.0;
        let numbers = (0..shape.iter().product()).map(number);
        let data = TensorData::new(numbers.collect::<Vec<_>>(), shape);
        Tensor::from_data(data, &Device::flex())
    }

    #[test]
    fn kernels_and_plain_operations_agree() {
        for shape in [
            [3, 24, 24],
            [2, 24, 27],
            [1, 10, 50],
            [1, 130, 40],
            [2, 50, 49],
            [1, 1, 5],
            [1, 1, 1],
        ] {
            let x = stack(shape);
            let expected = plain(x.clone()).into_data();
            let found = orthogonal(x).into_data();
            found.assert_approx_eq(&expected, Tolerance::<f32>::absolute(2e-4));
        }
    }

    #[test]
    fn the_gram_matrix_alone_gives_what_the_products_give() {
        let x = stack([2, 12, 40]) * 0.01;
        let direct = by_products(x.clone()).into_data();
        let found = by_gram_matrix(x).into_data();
        found.assert_approx_eq(&direct, Tolerance::<f32>::absolute(1e-4));
    }

    #[test]
    fn rows_of_unit_length_at_right_angles() {
        for [rows, columns] in [[12, 40], [40, 12], [16, 20]] {
            let x = orthogonal(stack([1, rows, columns])).squeeze_dim::<2>(0);
            let x = if rows > columns { x.transpose() } else { x };
            let gram = x.clone().matmul(x.transpose());
            let one = Tensor::<2>::eye(gram.dims()[0], &Device::flex());
            let off = (gram - one).abs().max().into_scalar::<f32>();
            assert!(off < 0.55, "{rows} x {columns}: {off}");
        }
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let zeros = Tensor::<3>::zeros([1, 4, 6], &Device::flex());
        orthogonal(zeros.clone())
            .into_data()
            .assert_eq(&zeros.into_data(), true);
    }
}
