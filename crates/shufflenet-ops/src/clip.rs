//! Clipping by the norm over all tensors together (Pascanu et al., 2012).

use burn::tensor::Tensor;

use crate::flat;

/// The tensors, which are float32 and outside of any graph, scaled down so that their common norm is at most `most`, as
/// PyTorch's `clip_grad_norm_` does: each is multiplied by `min(1, most / (norm + 1e-6))`. The factor is computed on
/// the device, which nobody has to wait for. On a GPU it takes two launches.
pub fn clip_norm(tensors: Vec<Tensor<1>>, most: f64) -> Vec<Tensor<1>> {
    #[cfg(feature = "gpu")]
    if !tensors.is_empty() && tensors.iter().all(flat::has_views) {
        let lens: Vec<usize> = tensors.iter().map(|tensor| tensor.dims()[0]).collect();
        let flat = flat::gather(tensors);
        return flat::split(crate::backend::outside::clip(flat, most), &lens);
    }
    let squares = tensors.iter().map(|g| (g.clone() * g.clone()).sum());
    let squares: Vec<Tensor<1>> = squares.collect();
    if squares.is_empty() {
        return tensors;
    }
    let norm = Tensor::cat(squares, 0).sum().sqrt();
    let factor = norm
        .add_scalar(1e-6)
        .recip()
        .mul_scalar(most)
        .clamp_max(1.0);
    flat::elementwise([tensors], |[g]| g * factor.clone())
}
