//! The gradient of the cross-entropy against soft targets.

use burn::tensor::Tensor;

#[cfg(feature = "gpu")]
use crate::backend::outside;

/// The gradient of `sum(factors log_softmax(logits))` by the logits:
///
/// ```text
/// d = factors - softmax(logits) sum(factors)
/// ```
///
/// Both are float32 and outside of any graph. On a GPU it is one launch.
///
/// # Shapes
/// - `logits`, `factors`, output: `[batch, classes]`
///
/// # Panics
/// If the shapes differ.
pub fn cross_entropy_gradient(logits: Tensor<2>, factors: Tensor<2>) -> Tensor<2> {
    assert_eq!(logits.dims(), factors.dims(), "logits, factors");
    #[cfg(feature = "gpu")]
    if let Some(gradient) = outside::cross_entropy_gradient(&logits, &factors) {
        return gradient;
    }
    let exponentials = (logits.clone() - logits.max_dim(1)).exp();
    let sums = exponentials.clone().sum_dim(1);
    // By the reciprocal, as automatic differentiation of the loss has it: published accuracies were trained with its bits.
    factors.clone() - factors.sum_dim(1) * sums.recip() * exponentials
}
