//! Squeeze-and-excitation (Hu et al., 2018, [Squeeze-and-Excitation
//! Networks](https://arxiv.org/abs/1709.01507), equations 2 to 4) for ShuffleNetV2.
//!
//! A gate that sees the whole map scales each channel. With `z` the mean of each channel:
//!
//! ```text
//! gate = hard_sigmoid(W2 relu(norm(W1 z))),   y = gate * x.
//! ```
//!
//! - **Position.** At the end of the right branch, in units of either stride: after its last ReLU, before
//!   the residual sum and the concatenation. The paper's appendix draws it there, alone and with the
//!   residual sum.
//! - **Reduction and gate.** The paper leaves them open. Here they follow the ShuffleNetV2+ that its
//!   authors released (`megvii-model/ShuffleNet-Series`): 1x1 convolutions without bias take `C` channels
//!   to `C / 4` (rounded down) and back, a batch norm follows the first one, and the gate is the hard
//!   sigmoid `min(max(x + 3, 0), 6) / 6`.
//!
//! The gate's batch norm sees one value per channel of each image, so the network cannot train on a batch of
//! one image.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use crate::conv_norm::{ConvNorm, convolution};
use crate::initialise::Initialiser;

/// Reduction factor: the number of channels is divided by it for the squeezed vector.
pub(crate) const REDUCTION: usize = 4;

/// Scales each channel by a gate computed from the whole map.
#[derive(Module, Debug)]
pub struct SqueezeExcitation {
    /// 1x1 convolution to a quarter of the channels, batch norm, ReLU.
    pub squeeze: ConvNorm,
    /// 1x1 convolution back to a logit per channel, without bias.
    pub excite: Conv2d,
}

impl SqueezeExcitation {
    /// Creates the block for `channels` channels, 4 or more.
    pub(crate) fn new(channels: usize, init: &mut Initialiser) -> Self {
        let squeezed = channels / REDUCTION;
        Self {
            squeeze: ConvNorm::pointwise([channels, squeezed], init),
            excite: convolution([squeezed, channels], 1, 1, 1, init),
        }
    }

    /// Scales the channels of `x` by their gates.
    ///
    /// # Shapes
    /// - `x`: `[batch, channels, height, width]`
    /// - output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let means = x.clone().mean_dim(3).mean_dim(2);
        let logits = self.excite.forward(self.squeeze.forward(means));
        // Written out because Burn's hard sigmoid always computes in float32, whatever the input's type.
        x * ((logits + 3.0).clamp(0.0, 6.0) / 6.0)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::tensor::Device;

    use super::*;

    fn block(excite: f32) -> SqueezeExcitation {
        let device = Device::flex();
        let mut block = SqueezeExcitation::new(9, &mut Initialiser::new(0, &device));
        block.squeeze.conv.weight = Param::from_tensor(Tensor::ones([2, 9, 1, 1], &device));
        block.excite.weight = Param::from_tensor(Tensor::full([9, 2, 1, 1], excite, &device));
        block
    }

    /// The gate for a map of ones. Both squeezed channels are 9 (the norm's statistics are 0 and 1), so the
    /// logit is 18 times the weight.
    fn gate(excite: f32) -> f32 {
        let y = block(excite).forward(Tensor::ones([1, 9, 3, 2], &Device::flex()));
        assert_eq!(y.dims(), [1, 9, 3, 2]);
        y.into_data().iter::<f32>().next().unwrap()
    }

    #[test]
    fn the_gate_is_linear_between_minus_three_and_three() {
        assert!((gate(1.0 / 18.0) - 4.0 / 6.0).abs() < 1e-4);
        assert!((gate(-2.0 / 18.0) - 1.0 / 6.0).abs() < 1e-4);
        assert_eq!((gate(1.0), gate(-1.0)), (1.0, 0.0));
    }

    #[test]
    fn nine_channels_are_squeezed_to_two() {
        assert_eq!(block(0.0).squeeze.conv.weight.dims(), [2, 9, 1, 1]);
    }
}
