//! Batch normalisation by the statistics of the batch (Ioffe & Szegedy, 2015,
//! [Batch Normalization](https://arxiv.org/abs/1502.03167), algorithm 1).
//!
//! Over the `n = batch * height * width` values of a channel, with mean `m` and biased variance `v`,
//!
//! ```text
//! y = gamma * (x - m) / sqrt(v + epsilon) + beta.
//! ```
//!
//! The variance for inference is an estimate over all images. So it is the *unbiased* one,
//! `v * n / (n - 1)`, as in the paper's algorithm 2 and in PyTorch. Burn reports the biased one. On
//! a 4x4 map and 4 images the two differ by 1.6 %.

use burn::tensor::{Tensor, module};
use shufflenet_kernels::ranks;

use crate::sum_over_ranks::sum_over_ranks;

/// A normalised batch and its statistics.
#[derive(Debug)]
pub struct BatchNormTraining {
    /// The normalised batch, `[batch, channels, height, width]`.
    pub output: Tensor<4>,
    /// Mean of each channel, `[channels]`, outside the autodiff graph.
    pub mean: Tensor<1>,
    /// *Unbiased* variance of each channel, `[channels]`, outside the autodiff graph.
    pub variance: Tensor<1>,
}

/// Normalises each channel by its statistics over the batch (see the [module](self)). Within
/// [`ranks::summed_by`] the statistics are over the images of all ranks.
///
/// The operation is differentiable in `x`, `gamma` and `beta`. The gradient of `x` passes through the
/// statistics.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - `gamma`, `beta`: `[channels]`
///
/// # Panics
/// If a channel has fewer than two values, which have no variance, or the shapes differ.
pub fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> BatchNormTraining {
    let [batch, _, height, width] = x.dims();
    let n = batch * height * width;
    assert!(n > 1, "batch norm cannot train on channels of {n} values");
    if ranks::sum().is_some() {
        return over_ranks(x, gamma, beta, epsilon);
    }
    let result = module::batch_norm_train(x, gamma, beta, epsilon);
    BatchNormTraining {
        output: result.output,
        mean: result.mean.detach(),
        variance: result.variance.detach() * (n as f64 / (n as f64 - 1.0)),
    }
}

/// [`batch_norm_train`] over the images of all ranks. The forward takes one sum over the ranks for the means and
/// one for the deviations from them; the backward takes two as well.
fn over_ranks(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> BatchNormTraining {
    let [batch, channels, height, width] = x.dims();
    let per_channel = |row: Tensor<1>| row.reshape([1, channels, 1, 1]);
    let sums = |x: Tensor<4>| x.sum_dims(&[0, 2, 3]).reshape([channels]);
    let here = Tensor::full([1], (batch * height * width) as f64, &x.device());
    let all = sum_over_ranks(Tensor::cat(vec![sums(x.clone()), here], 0));
    let n = all.clone().narrow(0, channels, 1).detach();
    let mean = all.narrow(0, 0, channels) / n.clone();
    let centered = x - per_channel(mean.clone());
    let variance = sum_over_ranks(sums(centered.clone() * centered.clone())) / n.clone();
    let scale = gamma / (variance.clone() + epsilon).sqrt();
    BatchNormTraining {
        output: centered * per_channel(scale) + per_channel(beta),
        mean: mean.detach(),
        variance: variance.detach() * (n.clone() / (n - 1.0)),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::thread;

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
        // The batch itself is divided by the biased deviation: 2 * (1 - 2.5) / sqrt(1.25) + 3.
        let first = result.output.into_data().iter::<f32>().next();
        assert!((first.unwrap() - 0.316_729).abs() < 1e-5);
    }

    /// Output, mean, variance and the gradients of `x`, gamma and beta, for a loss that weighs each output
    /// differently.
    fn passed(x: &[f32]) -> [Vec<f32>; 6] {
        let device = Device::flex().autodiff();
        let [images, channels] = [x.len() / 8, 2];
        let x = TensorData::new(x.to_vec(), [images, channels, 2, 2]);
        let x = Tensor::<4>::from_data(x, &device).require_grad();
        let gamma = Tensor::<1>::from_floats([2.0, 0.5], &device).require_grad();
        let beta = Tensor::<1>::from_floats([3.0, -1.0], &device).require_grad();
        let result = batch_norm_train(x.clone(), gamma.clone(), beta.clone(), 1e-5);
        let loss = (x.clone().detach().sin() * result.output.clone()).sum();
        let gradients = loss.backward();
        let of = |data: TensorData| data.iter::<f32>().collect::<Vec<_>>();
        [
            of(result.output.into_data()),
            of(result.mean.into_data()),
            of(result.variance.into_data()),
            of(x.grad(&gradients).unwrap().into_data()),
            of(gamma.grad(&gradients).unwrap().into_data()),
            of(beta.grad(&gradients).unwrap().into_data()),
        ]
    }

    #[test]
    fn ranks_with_shares_of_a_batch_norm_it_as_one_with_all_of_it() {
        let x: Vec<f32> = (0..5 * 8)
            .map(|i| ((i * 37 % 23) as f32).sin() + 4.0)
            .collect();
        let whole = passed(&x);
        let sum = shufflenet_kernels::testing::sums_over(2);
        let shares = thread::scope(|scope| {
            let ranks = [&x[..2 * 8], &x[2 * 8..]].map(|share| {
                let sum = sum.clone();
                scope.spawn(move || ranks::summed_by(Rc::new(sum), || passed(share)))
            });
            ranks.map(|rank| rank.join().unwrap())
        });
        let [first, second] = &shares;
        let close = |a: &[f32], b: &[f32]| {
            assert_eq!(a.len(), b.len());
            let largest = b.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let pairs = a.iter().zip(b);
            pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-5 * largest, "{a}, {b}"));
        };
        // The second rank's images and their gradients follow the first rank's.
        for of_images in [0, 3] {
            let both = [&first[of_images][..], &second[of_images]].concat();
            close(&both, &whole[of_images]);
        }
        // Statistics are the same on both ranks.
        for of_all in [1, 2] {
            close(&first[of_all], &whole[of_all]);
            assert_eq!(first[of_all], second[of_all]);
        }
        // Each rank has its part of the weights' gradients.
        for parts in [4, 5] {
            let pairs = first[parts].iter().zip(&second[parts]);
            close(
                &pairs.map(|(a, b)| a + b).collect::<Vec<_>>(),
                &whole[parts],
            );
        }
    }

    #[test]
    #[should_panic(expected = "channels of 1 values")]
    fn one_value_per_channel_is_refused() {
        normalise(TensorData::new(vec![1.0f32, 2.0], [1, 2, 1, 1]));
    }
}
