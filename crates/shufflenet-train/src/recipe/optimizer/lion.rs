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
use super::rule::{Moved, Rule};
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

    fn update(&self, weight: Tensor<1>, moved: &mut Moved) -> Tensor<1> {
        let (hyper, remembered) = (moved.hyper, &mut moved.remembered);
        let gradient = moved.gradient.clone();
        let old = remembered.remove(MOMENTUM);
        let old = old.unwrap_or_else(|| gradient.zeros_like());
        let towards = |decay: f64| {
            let new = gradient.clone().mul_scalar(1.0 - decay);
            old.clone().mul_scalar(decay).add(new)
        };
        let direction = towards(hyper.momentum).sign();
        remembered.insert(MOMENTUM, towards(self.beta2));
        let decayed = weight.mul_scalar(1.0 - hyper.rate * hyper.decay);
        decayed - direction.mul_scalar(hyper.rate)
    }

    fn in_words(&self, config: &OptimizerConfig) -> String {
        let (rate, momentum) = (config.learning_rate, config.momentum);
        format!("Lion {rate}, beta1 {momentum},")
    }
}
