//! Batch normalisation by the batch's own statistics (Ioffe & Szegedy, 2015,
//! [Batch Normalization](https://arxiv.org/abs/1502.03167), algorithm 1).
//!
//! Over the `n = batch * height * width` values of a channel, with mean `m` and biased variance `v`,
//!
//! ```text
//! y = gamma * (x - m) / sqrt(v + epsilon) + beta.
//! ```
//!
//! The variance that inference will use is an estimate over all images, and so the *unbiased* one,
//! `v * n / (n - 1)`, as in the paper's algorithm 2 and in PyTorch. Burn reports the biased one;
//! on a 4x4 map and 4 images the two differ by 1.6 %.

use burn::tensor::{Tensor, module};

/// A normalised batch and the statistics that it was normalised by.
#[derive(Debug)]
pub struct BatchNormTraining {
    /// The normalised batch, `[batch, channels, height, width]`.
    pub output: Tensor<4>,
    /// Mean of each channel, `[channels]`, outside the autodiff graph.
    pub mean: Tensor<1>,
    /// *Unbiased* variance of each channel, `[channels]`, outside the autodiff graph.
    pub variance: Tensor<1>,
}

/// Normalises each channel by its statistics over the batch (see the [module](self)).
///
/// Differentiable in `x`, `gamma` and `beta`; the gradient of `x` passes through the statistics.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - `gamma`, `beta`: `[channels]`
///
/// # Panics
/// When a channel has fewer than two values, whose variance does not exist, or the shapes differ.
pub fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> BatchNormTraining {
    let [batch, _, height, width] = x.dims();
    let n = batch * height * width;
    assert!(n > 1, "batch norm cannot train on {n} value per channel");
    let result = module::batch_norm_train(x, gamma, beta, epsilon);
    BatchNormTraining {
        output: result.output,
        mean: result.mean.detach(),
        variance: result.variance.detach() * (n as f64 / (n as f64 - 1.0)),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;

    fn normalise(x: TensorData) -> BatchNormTraining {
        let device = Device::flex();
        let x = Tensor::from_data(x, &device);
        let channels = x.dims()[1];
        let gamma = Tensor::ones([channels], &device) * 2.0;
        let beta = Tensor::ones([channels], &device) * 3.0;
        batch_norm_train(x, gamma, beta, 1e-5)
    }

    #[test]
    fn statistics_are_per_channel_and_the_variance_unbiased() {
        // Channel 0 holds 1, 2, 3, 4 and channel 1 holds 10, 10, 10, 14, over two images.
        let values = vec![1.0f32, 2.0, 10.0, 10.0, 3.0, 4.0, 10.0, 14.0];
        let result = normalise(TensorData::new(values, [2, 2, 1, 2]));
        let tolerance = Tolerance::<f32>::absolute(1e-5);
        let mean = result.mean.into_data();
        mean.assert_approx_eq(&TensorData::from([2.5f32, 11.0]), tolerance);
        let variance = result.variance.into_data();
        variance.assert_approx_eq(&TensorData::from([5.0f32 / 3.0, 4.0]), tolerance);
        // But the batch itself is divided by the biased one: 2 * (1 - 2.5) / sqrt(1.25) + 3.
        let first = result.output.into_data().iter::<f32>().next();
        assert!((first.unwrap() - 0.316_729).abs() < 1e-5);
    }

    #[test]
    #[should_panic(expected = "1 value per channel")]
    fn one_value_per_channel_is_refused() {
        normalise(TensorData::new(vec![1.0f32, 2.0], [1, 2, 1, 1]));
    }
}
