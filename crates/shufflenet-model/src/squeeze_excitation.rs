//! Squeeze-and-excitation (Hu et al., 2018, [Squeeze-and-Excitation
//! Networks](https://arxiv.org/abs/1709.01507), equations 2 to 4), as ShuffleNetV2 has it.
//!
//! Each channel is scaled by a gate that sees the whole map: with `z` the mean of each channel,
//!
//! ```text
//! gate = hard_sigmoid(W2 relu(norm(W1 z))),   y = gate * x.
//! ```
//!
//! - **Position.** At the end of the right branch: behind its last ReLU, before the residual sum and
//!   the concatenation, in units of either stride. So the paper's appendix draws it, alone and with
//!   the residual sum.
//! - **Reduction and gate.** The paper leaves them open. Here they are what its authors released as
//!   ShuffleNetV2+ (`megvii-model/ShuffleNet-Series`): `C` channels to `C / 4` (rounded down) and
//!   back by 1x1 convolutions without bias, a batch norm behind the first, and the hard sigmoid
//!   `min(max(x + 3, 0), 6) / 6`.
//!
//! That batch norm sees one value per channel of each image, so a batch of one cannot be trained on.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use crate::conv_norm::{ConvNorm, convolution};
use crate::initialise::Initialiser;

/// What the channels are divided by for the squeezed description.
pub(crate) const REDUCTION: usize = 4;

/// Scales each channel by what the whole map says.
#[derive(Module, Debug)]
pub struct SqueezeExcitation {
    /// 1x1 convolution to a quarter of the channels, batch norm, ReLU.
    pub squeeze: ConvNorm,
    /// 1x1 convolution back to a logit per channel, without bias.
    pub excite: Conv2d,
}

impl SqueezeExcitation {
    /// For `channels` channels, 4 or more.
    pub(crate) fn new(channels: usize, init: &mut Initialiser) -> Self {
        let squeezed = channels / REDUCTION;
        Self {
            squeeze: ConvNorm::pointwise([channels, squeezed], init),
            excite: convolution([squeezed, channels], 1, 1, 1, init),
        }
    }

    /// # Shapes
    /// - `x`: `[batch, channels, height, width]`
    /// - output: the same
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let means = x.clone().mean_dim(3).mean_dim(2);
        let logits = self.excite.forward(self.squeeze.forward(means));
        // Spelt out: Burn's own hard sigmoid computes in float32 whatever it is given.
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

    /// Of a map of ones: both squeezed channels are 9 (the norm's statistics being 0 and 1), and the
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
