//! Stochastic gradient descent with momentum (Sutskever et al., 2013), as PyTorch's `SGD` without dampening:
//!
//! ```text
//! g = dL/dw + decay w
//! v = momentum v + g                       (v = g at first)
//! w = w - rate (g + momentum v)            with Nesterov, else w - rate v
//! ```

use burn::tensor::Tensor;

use super::config::OptimizerConfig;
use super::row::Row;
use super::rule::Rule;

/// Name of the momentum in checkpoints.
pub const VELOCITY: &str = "momentum.velocity";

/// SGD, with momentum or without.
pub(super) struct Sgd {
    has_momentum: bool,
}

impl Sgd {
    /// SGD by these settings.
    pub(super) fn of(config: &OptimizerConfig) -> Self {
        Self {
            has_momentum: config.momentum > 0.0,
        }
    }
}

impl Rule for Sgd {
    fn remembers(&self) -> &'static [&'static str] {
        match self.has_momentum {
            true => &[VELOCITY],
            false => &[],
        }
    }

    fn update(&self, row: &mut Row) -> Tensor<1> {
        let (hyper, weight) = (row.hyper, row.weight.clone());
        let mut direction = row.gradient.clone();
        if row.decays() {
            direction = row.times(weight.clone(), |own| own.decay).add(direction);
        }
        if self.has_momentum {
            let velocity = match row.remembered.remove(VELOCITY) {
                Some(old) => direction.clone().add(old.mul_scalar(hyper.momentum)),
                None => direction.clone(),
            };
            row.remembered.insert(VELOCITY, velocity.clone());
            direction = match hyper.nesterov {
                true => velocity.mul_scalar(hyper.momentum).add(direction),
                false => velocity,
            };
        }
        weight - row.times(direction, |own| own.rate)
    }

    fn in_words(&self, config: &OptimizerConfig) -> String {
        let nesterov = if config.nesterov { " (Nesterov)" } else { "" };
        let (rate, momentum) = (config.learning_rate, config.momentum);
        format!("SGD {rate}, momentum {momentum}{nesterov},")
    }
}
