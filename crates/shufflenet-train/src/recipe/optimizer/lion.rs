//! Lion (Chen et al., 2023, [Symbolic Discovery of Optimization Algorithms](
//! https://arxiv.org/abs/2302.06675), algorithm 2). With `b1` the momentum:
//!
//! ```text
//! w = w - rate (sign(b1 m + (1 - b1) g) + decay w)
//! m = b2 m + (1 - b2) g
//! ```

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::checks::momentum;
use super::config::OptimizerConfig;
use super::row::Row;
use super::rule::Rule;
use crate::error::TrainError;

const MOMENTUM: &str = "momentum";

/// Settings of `lion`; `optimizer.momentum` is its first beta.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lion {
    /// Decay of the momentum that is kept.
    pub beta2: f64,
}

impl Default for Lion {
    fn default() -> Self {
        Self { beta2: 0.99 }
    }
}

impl Lion {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        momentum("optimizer.lion.beta2", self.beta2)
    }
}

impl Rule for Lion {
    fn remembers(&self) -> &'static [&'static str] {
        &[MOMENTUM]
    }

    fn update(&self, row: &mut Row) -> Tensor<1> {
        let gradient = row.gradient.clone();
        let old = row.remembered.remove(MOMENTUM);
        let old = old.unwrap_or_else(|| gradient.zeros_like());
        let towards = |decay: f64| {
            let new = gradient.clone().mul_scalar(1.0 - decay);
            old.clone().mul_scalar(decay).add(new)
        };
        let direction = towards(row.hyper.momentum).sign();
        row.remembered.insert(MOMENTUM, towards(self.beta2));
        let decayed = row.times(row.weight.clone(), |own| 1.0 - own.rate * own.decay);
        decayed - row.times(direction, |own| own.rate)
    }

    fn in_words(&self, config: &OptimizerConfig) -> String {
        let (rate, momentum) = (config.learning_rate, config.momentum);
        format!("Lion {rate}, beta1 {momentum},")
    }
}
