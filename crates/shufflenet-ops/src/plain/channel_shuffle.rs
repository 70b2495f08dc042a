//! Channel shuffle (Zhang et al., 2018, [ShuffleNet](https://arxiv.org/abs/1707.01083), figure 1).
//!
//! A channel of a grouped or split convolution never sees the channels of the other group. Shuffling
//! the channels between two such convolutions mixes the groups at no arithmetic cost. The channels,
//! read as a `groups x (channels / groups)` matrix, are transposed,
//!
//! ```text
//! y[j * groups + g] = x[g * (channels / groups) + j].
//! ```

use burn::tensor::Tensor;

/// Shuffles the channels of `x` by `groups` (see the [module](self) for the equation).
///
/// Shuffling by `groups` and then by `channels / groups` is the identity.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - output: the same
///
/// # Panics
/// If `groups` is zero or does not divide the channels.
pub fn channel_shuffle(x: Tensor<4>, groups: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    assert!(
        groups > 0 && channels.is_multiple_of(groups),
        "{groups} groups cannot share {channels} channels"
    );
    x.reshape([batch, groups, channels / groups, height, width])
        .swap_dims(1, 2)
        .reshape([batch, channels, height, width])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// `[2, channels, 2, 3]`, every value different.
    fn numbered(channels: usize) -> Tensor<4> {
        let values: Vec<f32> = (0..12 * channels).map(|i| i as f32).collect();
        let data = TensorData::new(values, [2, channels, 2, 3]);
        Tensor::from_data(data, &Device::flex())
    }

    #[test]
    fn each_channel_goes_where_the_equation_says() {
        for (channels, groups) in [(6, 2), (6, 3), (12, 4), (10, 1), (7, 7)] {
            let x = numbered(channels);
            let y = channel_shuffle(x.clone(), groups);
            let per_group = channels / groups;
            for g in 0..groups {
                for j in 0..per_group {
                    let from = x.clone().narrow(1, g * per_group + j, 1);
                    let to = y.clone().narrow(1, j * groups + g, 1);
                    assert_eq!(from.into_data(), to.into_data(), "{channels}/{groups}");
                }
            }
        }
    }

    #[test]
    fn shuffling_by_the_cofactor_undoes_it() {
        for (channels, groups) in [(24, 2), (116, 2), (12, 3)] {
            let x = numbered(channels);
            let back = channel_shuffle(channel_shuffle(x.clone(), groups), channels / groups);
            assert_eq!(back.into_data(), x.into_data());
        }
    }

    #[test]
    fn the_gradient_is_shuffled_back() {
        let device = Device::flex().autodiff();
        let x = Tensor::from_data(numbered(6).into_data(), &device).require_grad();
        let weights = Tensor::from_data(numbered(6).into_data(), &device);
        let loss = (channel_shuffle(x.clone(), 2) * weights).sum();
        let gradient = x.grad(&loss.backward()).unwrap();
        let expected = channel_shuffle(numbered(6), 3);
        assert_eq!(gradient.into_data(), expected.into_data());
    }

    #[test]
    #[should_panic(expected = "2 groups cannot share 7 channels")]
    fn groups_must_divide_the_channels() {
        channel_shuffle(numbered(7), 2);
    }
}
