//! Stochastic gradient descent with momentum (Sutskever et al., 2013), as PyTorch's `SGD` without dampening:
//!
//! ```text
//! g = dL/dw + decay w
//! v = momentum v + g                       (v = g at first)
//! w = w - rate (g + momentum v)            with Nesterov, else w - rate v
//! ```

use burn::tensor::Tensor;

use super::config::OptimizerConfig;
use super::rule::{Moved, Rule};

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

    fn update(&self, weight: Tensor<1>, moved: &mut Moved) -> Tensor<1> {
        let (hyper, remembered) = (moved.hyper, &mut moved.remembered);
        let mut direction = moved.gradient.clone();
        if hyper.decay > 0.0 {
            direction = weight.clone().mul_scalar(hyper.decay as f32).add(direction);
        }
        if hyper.momentum > 0.0 {
            let velocity = match remembered.remove(VELOCITY) {
                Some(old) => direction.clone().add(old.mul_scalar(hyper.momentum as f32)),
                None => direction.clone(),
            };
            remembered.insert(VELOCITY, velocity.clone());
            direction = match hyper.nesterov {
                true => velocity.mul_scalar(hyper.momentum as f32).add(direction),
                false => velocity,
            };
        }
        weight - direction.mul_scalar(hyper.rate)
    }

    fn in_words(&self, config: &OptimizerConfig) -> String {
        let nesterov = if config.nesterov { " (Nesterov)" } else { "" };
        let (rate, momentum) = (config.learning_rate, config.momentum);
        format!("SGD {rate}, momentum {momentum}{nesterov},")
    }
}
