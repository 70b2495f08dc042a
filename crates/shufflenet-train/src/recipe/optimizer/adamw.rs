//! AdamW (Loshchilov & Hutter, 2017, [Decoupled Weight Decay Regularization](
//! https://arxiv.org/abs/1711.05101)), as PyTorch's `AdamW`. With `b1` the momentum, in step `t` from 1:
//!
//! ```text
//! w = w - rate decay w
//! m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
//! w = w - rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon)
//! ```

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::checks::{momentum, positive};
use super::config::OptimizerConfig;
use super::row::Row;
use super::rule::Rule;
use crate::error::TrainError;

const MOMENTS: [&str; 2] = ["moment_1", "moment_2"];

/// Settings of `adamw`; `optimizer.momentum` is its first beta.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamW {
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Number that is added to the root of that mean.
    pub epsilon: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

impl AdamW {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        momentum("optimizer.adamw.beta2", self.beta2)?;
        positive("optimizer.adamw.epsilon", self.epsilon)
    }
}

impl Rule for AdamW {
    fn remembers(&self) -> &'static [&'static str] {
        &MOMENTS
    }

    fn update(&self, row: &mut Row) -> Tensor<1> {
        let (hyper, remembered) = (row.hyper, &mut row.remembered);
        let gradient = row.gradient.clone();
        let (b1, b2) = (hyper.momentum, self.beta2);
        let squared = gradient.clone() * gradient.clone();
        let mut follow = |name, decay: f64, value: Tensor<1>| {
            let value = value.mul_scalar(1.0 - decay);
            let moment = match remembered.remove(name) {
                Some(old) => old.mul_scalar(decay).add(value),
                None => value,
            };
            remembered.insert(name, moment.clone());
            moment
        };
        let mean = follow(MOMENTS[0], b1, gradient);
        let square = follow(MOMENTS[1], b2, squared);
        let step = hyper.step as f64;
        let (unbias1, unbias2) = (1.0 - b1.powf(step), 1.0 - b2.powf(step));
        // The factors contain both divisors of the formula, which saves a pass over all values.
        let unbias2 = unbias2.sqrt();
        let root = square.sqrt().add_scalar(self.epsilon * unbias2);
        let decayed = row.times(row.weight.clone(), |own| 1.0 - own.rate * own.decay);
        decayed - row.times(mean.div(root), |own| own.rate * unbias2 / unbias1)
    }

    fn in_words(&self, config: &OptimizerConfig) -> String {
        let (rate, momentum) = (config.learning_rate, config.momentum);
        format!("AdamW {rate}, beta1 {momentum},")
    }
}
