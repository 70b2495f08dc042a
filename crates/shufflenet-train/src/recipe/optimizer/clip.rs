//! Clipping by the norm over all parameters together (Pascanu et al., 2012), as PyTorch's
//! `clip_grad_norm_`: every gradient is multiplied by `min(1, most / (norm + 1e-6))`. The factor is computed
//! on the device, which nobody has to wait for.

use burn::tensor::Tensor;
use shufflenet_model::flat;

use super::gradients::Gradients;

/// Scales all gradients so that their common norm is at most `most`.
pub(super) fn clip(gradients: Gradients, most: f64) -> Gradients {
    let rows = gradients.rows().to_vec();
    let squares = flat::merged(rows.clone()).into_iter();
    let squares: Vec<Tensor<1>> = squares.map(|g| (g.clone() * g).sum()).collect();
    let square = match &*squares {
        [] => return gradients,
        [one] => one.clone(),
        _ => Tensor::cat(squares, 0).sum(),
    };
    // A divisor, because it takes one operation less than the factor.
    let divisor = square
        .sqrt()
        .add_scalar(1e-6)
        .clamp_min(most)
        .div_scalar(most);
    let rows = flat::elementwise([rows], |[g]| g.div(divisor.clone()));
    gradients.with_rows(rows)
}
