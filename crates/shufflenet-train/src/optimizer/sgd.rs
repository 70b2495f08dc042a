//! Stochastic gradient descent with momentum (Sutskever et al., 2013), as PyTorch's `SGD` without dampening:
//!
//! ```text
//! g = dL/dw + decay w
//! v = momentum v + g                       (v = g at first)
//! w = w - rate (g + momentum v)            with Nesterov, else w - rate v
//! ```

use burn::tensor::Tensor;

use super::{Hyper, State};

/// Name of the velocity in checkpoints.
pub const VELOCITY: &str = "momentum.velocity";

/// The weights after a step.
pub(super) fn update(
    weight: Tensor<1>,
    gradient: Tensor<1>,
    state: &mut State,
    hyper: &Hyper,
) -> Tensor<1> {
    let mut direction = gradient;
    if hyper.decay > 0.0 {
        direction = weight.clone().mul_scalar(hyper.decay as f32).add(direction);
    }
    if hyper.momentum > 0.0 {
        let velocity = match state.remove(VELOCITY) {
            Some(old) => direction.clone().add(old.mul_scalar(hyper.momentum as f32)),
            None => direction.clone(),
        };
        state.insert(VELOCITY, velocity.clone());
        direction = match hyper.nesterov {
            true => velocity.mul_scalar(hyper.momentum as f32).add(direction),
            false => velocity,
        };
    }
    weight - direction.mul_scalar(hyper.rate)
}
