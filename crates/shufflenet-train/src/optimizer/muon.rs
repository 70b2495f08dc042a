//! Muon (Jordan et al., 2024, [Muon: an optimizer for hidden layers](
//! https://kellerjordan.github.io/posts/muon/)): momentum whose matrix is replaced by the nearest
//! orthogonal one, for every weight that is a matrix: of 1x1 convolutions, `[outputs, inputs]`, which are nearly
//! all there is in this family of networks, of the stem, `[outputs, inputs * 9]`, and of the classifier. (Jordan
//! leaves the first and the last layer to another optimizer; here both gain by it, as `docs/recipes.md` shows.)
//! Depthwise kernels and what batch norm scales and shifts by are left to SGD. As PyTorch's `torch.optim.Muon`
//! has it, in float32 where that rounds to bfloat16:
//!
//! ```text
//! m = momentum m + (1 - momentum) g
//! u = orthogonal(momentum m + (1 - momentum) g)       with Nesterov, else orthogonal(m)
//! w = w - rate decay w - rate sqrt(max(1, outputs / inputs)) u
//! ```
//!
//! `orthogonal`, for which matrices of one shape are taken together, is five Newton-Schulz iterations of a quintic that brings every singular value near 1.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::config::{from_zero, momentum, positive};
use super::{Hyper, State};
use crate::error::TrainError;

pub(super) const MOMENTUM: &str = "muon.momentum";
const ITERATIONS: usize = 5;
/// Jordan's coefficients: the steepest slope at zero that still ends near 1.
const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// The least norm that is divided by.
const EPSILON: f64 = 1e-7;

/// Settings of `muon`, for weights that are matrices: of 1x1 convolutions, the stem and the classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Muon {
    /// Peak learning rate of these weights; the schedule scales it as it does `optimizer.learning_rate`.
    pub learning_rate: f64,
    /// Momentum of these weights.
    pub momentum: f64,
    /// Weight decay of these weights: taken off directly, times the learning rate.
    pub weight_decay: f64,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            learning_rate: 0.05,
            momentum: 0.9,
            weight_decay: 0.03,
        }
    }
}

impl Muon {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        positive("optimizer.muon.learning_rate", self.learning_rate)?;
        momentum("optimizer.muon.momentum", self.momentum)?;
        from_zero("optimizer.muon.weight_decay", self.weight_decay)
    }
}

/// Outputs and inputs of a parameter of that shape, where it is a matrix. (A stem of one channel has the shape
/// of depthwise kernels, and is taken for some.)
pub(super) fn matrix(shape: &[usize]) -> Option<[usize; 2]> {
    match *shape {
        // As Burn has linear layers.
        [inputs, outputs] => Some([outputs, inputs]),
        [outputs, inputs, height, width] if inputs > 1 => Some([outputs, inputs * height * width]),
        _ => None,
    }
}

/// Where the momentum points after a step: what there is a nearest orthogonal matrix of.
pub(super) fn direction(gradient: Tensor<1>, state: &mut State, hyper: &Hyper) -> Tensor<1> {
    let towards = |old: Tensor<1>| {
        let new = gradient.clone().mul_scalar(1.0 - hyper.momentum);
        old.mul_scalar(hyper.momentum).add(new)
    };
    let old = state.remove(MOMENTUM);
    let kept = towards(old.unwrap_or_else(|| gradient.zeros_like()));
    state.insert(MOMENTUM, kept.clone());
    match hyper.nesterov {
        true => towards(kept),
        false => kept,
    }
}

/// Replaces each row, which is of a parameter of that shape, by the nearest orthogonal matrix's. Those of one
/// shape go together, in products of whole stacks: a network has many small ones.
pub(super) fn orthogonalise(rows: Vec<(&[usize], &mut Tensor<1>)>) {
    let mut stacks = BTreeMap::<[usize; 2], Vec<&mut Tensor<1>>>::new();
    for (shape, row) in rows {
        let first = shape.first().copied().unwrap_or(1).max(1);
        let rest = row.dims()[0] / first;
        stacks.entry([first, rest]).or_default().push(row);
    }
    for (shape, rows) in stacks {
        let matrices = rows.iter().map(|row| (**row).clone().reshape(shape));
        let stack = Tensor::stack(matrices.collect(), 0);
        for (row, matrix) in rows.into_iter().zip(orthogonal(stack).iter_dim(0)) {
            *row = matrix.reshape([-1]);
        }
    }
}

/// The weights after a step along that orthogonal matrix; `shape` is that of a [`matrix`].
pub(super) fn update(
    weight: Tensor<1>,
    orthogonal: Tensor<1>,
    shape: &[usize],
    hyper: &Hyper,
) -> Tensor<1> {
    let [outputs, inputs] = matrix(shape).unwrap_or([1, 1]);
    let rate = hyper.rate * (outputs as f64 / inputs as f64).max(1.0).sqrt();
    weight.mul_scalar(1.0 - hyper.rate * hyper.decay) - orthogonal.mul_scalar(rate)
}

/// Nearly the orthogonal matrices nearest to those of a stack, `[matrices, rows, columns]`. The nearest to a
/// transpose is the transpose of the nearest.
fn orthogonal(stack: Tensor<3>) -> Tensor<3> {
    let [_, rows, columns] = stack.dims();
    let tall = rows > columns;
    let x = if tall { stack.transpose() } else { stack };
    let squares = x.clone() * x.clone();
    let norm = squares.sum_dims(&[1, 2]).sqrt().clamp_min(EPSILON);
    let x = x / norm;
    let x = match 2 * rows.min(columns) <= rows.max(columns) {
        true => by_gram_matrix(x),
        false => by_products(x),
    };
    if tall { x.transpose() } else { x }
}

/// The iteration as it is defined: `x <- a x + (b x x' + c (x x')^2) x`.
fn by_products(mut x: Tensor<3>) -> Tensor<3> {
    let [a, b, c] = QUINTIC;
    for _ in 0..ITERATIONS {
        let gram = x.clone().matmul(x.clone().transpose());
        let polynomial = gram.clone().mul_scalar(b) + gram.clone().matmul(gram).mul_scalar(c);
        x = x.clone().mul_scalar(a) + polynomial.matmul(x);
    }
    x
}

/// The same for matrices much wider than high. Each iteration multiplies `x` by a polynomial `p` of its Gram
/// matrix `g = x x'`, and all of these commute; so the small matrices are iterated alone, `g <- p g p`, and `x`
/// is multiplied once by the product of all `p`.
fn by_gram_matrix(x: Tensor<3>) -> Tensor<3> {
    let [a, b, c] = QUINTIC;
    let mut gram = x.clone().matmul(x.clone().transpose());
    let one = Tensor::<2>::eye(gram.dims()[1], &x.device()).unsqueeze();
    let mut product = None;
    for iteration in 1..=ITERATIONS {
        let square = gram.clone().matmul(gram.clone());
        let polynomial =
            one.clone().mul_scalar(a) + gram.clone().mul_scalar(b) + square.mul_scalar(c);
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
    use burn::tensor::{Device, Distribution, TensorData, Tolerance};

    use super::*;

    #[test]
    fn the_gram_matrix_alone_gives_what_the_products_give() {
        let device = Device::flex();
        let x = Tensor::<3>::random([2, 12, 40], Distribution::Normal(0.0, 1.0), &device) * 0.04;
        let direct = by_products(x.clone()).into_data();
        by_gram_matrix(x)
            .into_data()
            .assert_approx_eq(&direct, Tolerance::<f32>::absolute(1e-4));
    }

    #[test]
    fn a_stack_is_orthogonalised_matrix_by_matrix_whichever_way_they_lie() {
        let device = Device::flex();
        let wave = |count: usize, by: f32| -> Vec<f32> {
            (0..count).map(|i| (i as f32 * by).sin()).collect()
        };
        let shapes = [vec![8, 24, 1, 1], vec![24, 8], vec![8, 24, 1, 1]];
        let mut rows: Vec<Tensor<1>> = [0.7f32, 1.3, 2.9]
            .map(|by| Tensor::from_data(TensorData::new(wave(192, by), [192]), &device))
            .into();
        // Of one, alone.
        let mut alone = rows[2].clone();
        orthogonalise(vec![(&shapes[2], &mut alone)]);
        let pairs = shapes.iter().map(Vec::as_slice).zip(&mut rows);
        orthogonalise(pairs.collect());
        rows[2]
            .clone()
            .into_data()
            .assert_eq(&alone.into_data(), true);
        for (row, shape) in rows.into_iter().zip([[8, 24], [24, 8], [8, 24]]) {
            let matrix = row.reshape(shape);
            let matrix = if shape[0] < shape[1] {
                matrix
            } else {
                matrix.transpose()
            };
            let gram = matrix.clone().matmul(matrix.transpose());
            let off = (gram - Tensor::<2>::eye(8, &device))
                .abs()
                .max()
                .into_scalar::<f32>();
            // Jordan's quintic ends between 0.7 and 1.2.
            assert!(off < 0.55, "{off}");
        }
    }
}
