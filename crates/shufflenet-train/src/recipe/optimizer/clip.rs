//! Clipping by the norm over all parameters together (Pascanu et al., 2012), as PyTorch's
//! `clip_grad_norm_`: every gradient is multiplied by `min(1, most / (norm + 1e-6))`. The factor is computed
//! on the device, which nobody has to wait for.

use burn::module::ParamId;
use burn::tensor::Tensor;

/// Scales all gradients so that their common norm is at most `most`.
pub(super) fn clip(gradients: &mut [(ParamId, Tensor<1>)], most: f64) {
    let squares = gradients.iter().map(|(_, g)| (g.clone() * g.clone()).sum());
    let squares: Vec<Tensor<1>> = squares.collect();
    if squares.is_empty() {
        return;
    }
    let norm = Tensor::cat(squares, 0).sum().sqrt();
    let factor = norm
        .add_scalar(1e-6)
        .recip()
        .mul_scalar(most)
        .clamp_max(1.0);
    for (_, gradient) in gradients {
        *gradient = gradient.clone() * factor.clone();
    }
}
