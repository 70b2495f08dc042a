//! Muon (Jordan et al., 2024, [Muon: an optimizer for hidden layers](
//! https://kellerjordan.github.io/posts/muon/)): a weight that is a matrix moves along the orthogonal matrix that is
//! nearest to its momentum.
//!
//! Such weights are the 1x1 convolutions, `[outputs, inputs]`, which have nearly all parameters of these networks,
//! the stem, `[outputs, inputs * 9]`, and the classifier. Jordan leaves the first and the last layer to another
//! optimizer. In these networks Muon is better for both (`docs/coffee.md`). SGD updates the other parameters: depthwise
//! kernels, and scale and shift of batch norm. The rule is that of PyTorch's `torch.optim.Muon`, which always rounds to
//! bfloat16; here only the products of a network in bfloat16 do:
//!
//! ```text
//! m = momentum m + (1 - momentum) g
//! u = orthogonal(momentum m + (1 - momentum) g)       with Nesterov, else orthogonal(m)
//! w = w - rate decay w - rate sqrt(max(1, outputs / inputs)) u
//! ```
//!
//! [`orthogonal`] approximates the nearest orthogonal matrix. It takes all matrices of one shape together.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use shufflenet_model::{Precision, orthogonal};

use super::checks::{from_zero, momentum, positive};
use super::config::OptimizerConfig;
use super::row::{Own, Row};
use super::rule::{Base, Rule};
use crate::error::{TrainError, require};

const MOMENTUM: &str = "muon.momentum";

/// Settings of `muon`, for weights that are matrices: of 1x1 convolutions, the stem (if images have more than one channel)
/// and the classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Muon {
    /// Peak learning rate of these weights; the schedule scales it as it does `optimizer.learning_rate`.
    pub learning_rate: f64,
    /// Momentum of these weights.
    pub momentum: f64,
    /// Weight decay of these weights: taken off directly, times the learning rate.
    pub weight_decay: f64,
    /// Newton-Schulz iterations of a step, 1 to 10; `ns_steps` of PyTorch. Fewer cost less, and lift small singular
    /// values less.
    pub iterations: usize,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            learning_rate: 0.05,
            momentum: 0.9,
            weight_decay: 0.05,
            iterations: 5,
        }
    }
}

impl Muon {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        positive("optimizer.muon.learning_rate", self.learning_rate)?;
        momentum("optimizer.muon.momentum", self.momentum)?;
        from_zero("optimizer.muon.weight_decay", self.weight_decay)?;
        require(
            (1..=10).contains(&self.iterations),
            "optimizer.muon.iterations",
            self.iterations,
            "a whole number from 1 to 10",
        )
    }
}

impl Rule for Muon {
    fn remembers(&self) -> &'static [&'static str] {
        &[MOMENTUM]
    }

    fn moves(&self, shape: &[usize]) -> bool {
        matrix(shape).is_some()
    }

    fn base(&self, _config: &OptimizerConfig) -> Base {
        Base {
            rate: self.learning_rate,
            momentum: self.momentum,
            decay: self.weight_decay,
        }
    }

    /// Replaces each gradient by the direction of its step.
    fn prepare(&self, rows: &mut [&mut Row], precision: Precision) {
        let mut matrices = Vec::new();
        for row in rows.iter_mut() {
            let direction = direction(row);
            matrices.push(row.parts(direction));
        }
        let shapes = rows.iter().flat_map(|row| row.shapes());
        orthogonalise(
            shapes.zip(matrices.iter_mut().flatten()),
            self.iterations,
            precision,
        );
        for (row, matrices) in rows.iter_mut().zip(matrices) {
            row.gradient = row.whole(matrices);
        }
    }

    fn update(&self, row: &mut Row) -> Tensor<1> {
        let rate = |own: Own| {
            let [outputs, inputs] = matrix(own.shape).unwrap_or([1, 1]);
            own.rate * (outputs as f64 / inputs as f64).max(1.0).sqrt()
        };
        let decayed = row.times(row.weight.clone(), |own| 1.0 - own.rate * own.decay);
        decayed - row.times(row.gradient.clone(), rate)
    }

    fn in_words(&self, config: &OptimizerConfig) -> String {
        let nesterov = if config.nesterov { " (Nesterov)" } else { "" };
        let (rate, momentum) = (config.learning_rate, config.momentum);
        format!(
            "Muon {} for matrices, SGD {rate} for the rest, momentum {}, {momentum}{nesterov},",
            self.learning_rate, self.momentum
        )
    }
}

/// Outputs and inputs of a parameter of this shape. `None`: it is not a matrix. (A stem for images of one channel has
/// the shape of depthwise kernels, and is treated as such.)
fn matrix(shape: &[usize]) -> Option<[usize; 2]> {
    match *shape {
        // As Burn stores linear layers.
        [inputs, outputs] => Some([outputs, inputs]),
        [outputs, inputs, height, width] if inputs > 1 => Some([outputs, inputs * height * width]),
        _ => None,
    }
}

/// The direction of the momentum after a step, before it is orthogonalised.
fn direction(row: &mut Row) -> Tensor<1> {
    let (gradient, momentum) = (row.gradient.clone(), row.hyper.momentum);
    let towards = |old: Tensor<1>| {
        let new = gradient.clone().mul_scalar(1.0 - momentum);
        old.mul_scalar(momentum).add(new)
    };
    let old = row.remembered.remove(MOMENTUM);
    let kept = towards(old.unwrap_or_else(|| gradient.zeros_like()));
    row.remembered.insert(MOMENTUM, kept.clone());
    match row.hyper.nesterov {
        true => towards(kept),
        false => kept,
    }
}

/// Replaces each row, which holds a parameter of the given shape, by the nearest orthogonal matrix. Matrices of equal shape
/// are computed as one stack, because a network has many small matrices.
fn orthogonalise<'a>(
    rows: impl Iterator<Item = (&'a [usize], &'a mut Tensor<1>)>,
    iterations: usize,
    precision: Precision,
) {
    let mut stacks = BTreeMap::<[usize; 2], Vec<&mut Tensor<1>>>::new();
    for (shape, row) in rows {
        let first = shape.first().copied().unwrap_or(1).max(1);
        let rest = row.dims()[0] / first;
        stacks.entry([first, rest]).or_default().push(row);
    }
    for (shape, rows) in stacks {
        let matrices = rows.iter().map(|row| (**row).clone().reshape(shape));
        let stack = Tensor::stack(matrices.collect(), 0);
        for (row, matrix) in rows
            .into_iter()
            .zip(orthogonal(stack, iterations, precision).iter_dim(0))
        {
            *row = matrix.reshape([-1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn a_stack_is_orthogonalised_matrix_by_matrix_in_either_orientation() {
        let device = Device::flex();
        let number = |i: usize| (i * i * 7919 % 1_009) as f32 / 504.5 - 1.0;
        let row = |first: usize| -> Tensor<1> {
            let numbers: Vec<f32> = (first..first + 192).map(number).collect();
            Tensor::from_data(TensorData::new(numbers, [192]), &device)
        };
        let shapes = [vec![8, 24, 1, 1], vec![24, 8], vec![8, 24, 1, 1]];
        let mut rows = [1, 300, 500].map(row);
        // Of one, alone.
        let mut alone = rows[2].clone();
        orthogonalise(
            [(&shapes[2][..], &mut alone)].into_iter(),
            5,
            Precision::F32,
        );
        let pairs = shapes.iter().map(Vec::as_slice).zip(&mut rows);
        orthogonalise(pairs, 5, Precision::F32);
        rows[2]
            .clone()
            .into_data()
            .assert_eq(&alone.into_data(), true);
        for (row, shape) in rows.into_iter().zip([[8, 24], [24, 8], [8, 24]]) {
            let matrix = row.reshape(shape);
            let wide = match shape {
                [8, 24] => matrix,
                _ => matrix.transpose(),
            };
            let gram = wide.clone().matmul(wide.transpose());
            let off = (gram - Tensor::<2>::eye(8, &device)).abs().max();
            // Jordan's quintic ends between 0.7 and 1.2.
            let off = off.into_scalar::<f32>();
            assert!(off < 0.55, "{off}");
        }
    }
}
