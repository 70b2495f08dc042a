//! Muon (Jordan et al., 2024, [Muon: an optimizer for hidden layers](
//! https://kellerjordan.github.io/posts/muon/)): momentum whose matrix is replaced by the nearest
//! orthogonal one, for the weights of 1x1 convolutions, which are matrices `[outputs, inputs]` and nearly
//! all there is in this family of networks. Depthwise kernels, the stem, norms and the classifier are left
//! to SGD. As PyTorch's `torch.optim.Muon` has it, in float32 where that rounds to bfloat16:
//!
//! ```text
//! m = momentum m + (1 - momentum) g
//! u = orthogonal(momentum m + (1 - momentum) g)       with Nesterov, else orthogonal(m)
//! w = w - rate decay w - rate sqrt(max(1, outputs / inputs)) u
//! ```
//!
//! `orthogonal` is five Newton-Schulz iterations of a quintic that brings every singular value near 1.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::config::{momentum, positive};
use super::{Hyper, State};
use crate::error::TrainError;

pub(super) const MOMENTUM: &str = "muon.momentum";
const ITERATIONS: usize = 5;
/// Jordan's coefficients: the steepest slope at zero that still ends near 1.
const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// The least norm that is divided by.
const EPSILON: f64 = 1e-7;

/// Settings of `muon`, for the weights of 1x1 convolutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Muon {
    /// Peak learning rate of these weights; the schedule scales it as it does `optimizer.learning_rate`.
    pub learning_rate: f64,
    /// Momentum of these weights.
    pub momentum: f64,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            learning_rate: 0.02,
            momentum: 0.95,
        }
    }
}

impl Muon {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        positive("optimizer.muon.learning_rate", self.learning_rate)?;
        momentum("optimizer.muon.momentum", self.momentum)
    }
}

/// Whether a parameter of that shape is the weight of a 1x1 convolution.
pub(super) fn suits(shape: &[usize]) -> bool {
    matches!(shape, [_, inputs, 1, 1] if *inputs > 1)
}

/// The weights after a step; they are a matrix of `rows` outputs.
pub(super) fn update(
    weight: Tensor<1>,
    gradient: Tensor<1>,
    rows: usize,
    state: &mut State,
    hyper: &Hyper,
) -> Tensor<1> {
    let columns = weight.dims()[0] / rows.max(1);
    let towards = |old: Tensor<1>| {
        let new = gradient.clone().mul_scalar(1.0 - hyper.momentum);
        old.mul_scalar(hyper.momentum).add(new)
    };
    let old = state.remove(MOMENTUM);
    let kept = towards(old.unwrap_or_else(|| gradient.zeros_like()));
    state.insert(MOMENTUM, kept.clone());
    let direction = match hyper.nesterov {
        true => towards(kept),
        false => kept,
    };
    let direction = orthogonal(direction.reshape([rows, columns])).reshape([-1]);
    let rate = hyper.rate * (rows as f64 / columns as f64).max(1.0).sqrt();
    weight.mul_scalar(1.0 - hyper.rate * hyper.decay) - direction.mul_scalar(rate)
}

/// Nearly the orthogonal matrix nearest to `matrix`.
fn orthogonal(matrix: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = matrix.dims();
    // The iteration multiplies by the smaller Gram matrix.
    let tall = rows > columns;
    let mut x = if tall { matrix.transpose() } else { matrix };
    let norm = (x.clone() * x.clone()).sum().sqrt().clamp_min(EPSILON);
    x = x.div(norm.unsqueeze());
    let [a, b, c] = QUINTIC;
    for _ in 0..ITERATIONS {
        let gram = x.clone().matmul(x.clone().transpose());
        let polynomial = gram.clone().mul_scalar(b) + gram.clone().matmul(gram).mul_scalar(c);
        x = x.clone().mul_scalar(a) + polynomial.matmul(x);
    }
    if tall { x.transpose() } else { x }
}
