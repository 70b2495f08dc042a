//! Convolution, batch norm and, in most places, ReLU: the building block of every unit.
//!
//! No convolution of the network has a bias, because the batch norm after it would cancel the bias. A
//! *pointwise* convolution is 1x1 and mixes channels. A *depthwise* convolution is 3x3 and has a separate
//! kernel for each channel (as many groups as channels). In ShuffleNetV2 no ReLU follows a depthwise
//! convolution.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Tensor, activation};
use shufflenet_ops::depthwise;
use shufflenet_ops::fused::{self, ConvNormWeights, Output, Precision};

use crate::batch_norm::BatchNorm;
use crate::initialise::Initialiser;

/// `relu(norm(conv(x)))`, or `norm(conv(x))` without ReLU.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution, without bias; its padding keeps the map's size at stride 1.
    pub conv: Conv2d,
    /// The batch norm after the convolution.
    pub norm: BatchNorm,
    /// Whether a ReLU follows.
    #[module(skip)]
    pub relu: bool,
}

impl ConvNorm {
    /// 1x1 convolution, batch norm, ReLU.
    pub(crate) fn pointwise(channels: [usize; 2], init: &mut Initialiser) -> Self {
        Self::new(channels, 1, 1, 1, true, init)
    }

    /// Depthwise 3x3 convolution and batch norm.
    pub(crate) fn depthwise(channels: usize, stride: usize, init: &mut Initialiser) -> Self {
        Self::new([channels, channels], 3, stride, channels, false, init)
    }

    /// Dense 3x3 convolution, batch norm, ReLU.
    pub(crate) fn dense(channels: [usize; 2], stride: usize, init: &mut Initialiser) -> Self {
        Self::new(channels, 3, stride, 1, true, init)
    }

    fn new(
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
        relu: bool,
        init: &mut Initialiser,
    ) -> Self {
        Self {
            conv: convolution([inputs, outputs], kernel, stride, groups, init),
            norm: BatchNorm::new(outputs, init.device),
            relu,
        }
    }

    /// Applies the convolution, the batch norm and, if [`Self::relu`] is set, the ReLU.
    ///
    /// # Shapes
    /// - `x`: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, ceil(height / stride), ceil(width / stride)]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = match self.conv.groups {
            1 => self.conv.forward(x),
            _ => depthwise(x, self.conv.weight.val(), self.conv.stride[0]),
        };
        let y = self.norm.forward(y);
        if self.relu { activation::relu(y) } else { y }
    }

    /// Weights and running statistics on the device of `x`, for an operation that fuses this block with its neighbours.
    pub fn weights(&self, x: &Tensor<4>) -> ConvNormWeights {
        ConvNormWeights {
            weight: self.conv.weight.val(),
            gamma: self.norm.gamma.val(),
            beta: self.norm.beta.val(),
            running: self.norm.running(x),
        }
    }
}

/// Whether the fused kernels can run all of these convolutions between maps that are stored as `precision`: the device
/// has kernels, every batch norm is in training mode, the weights are float32, and the device can store the
/// convolutions' outputs.
pub(crate) fn kernels_serve<'a>(
    mut convolutions: impl Iterator<Item = &'a ConvNorm>,
    x: &Tensor<4>,
    precision: Precision,
) -> bool {
    let serves = |conv: &ConvNorm| {
        let gamma = conv.norm.gamma.val();
        conv.norm.is_training(x)
            && gamma.dtype() == DType::F32
            && fused::stores(x, precision, gamma.dims()[0])
    };
    fused::serves(x) && convolutions.all(serves)
}

/// [`kernels_serve`] where `x` is a map, stored as the others.
pub(crate) fn kernels_serve_map<'a>(
    convolutions: impl Iterator<Item = &'a ConvNorm>,
    x: &Tensor<4>,
) -> bool {
    let precision = precision(x);
    fused::stores(x, precision, x.dims()[1]) && kernels_serve(convolutions, x, precision)
}

/// What `x` is stored as.
pub(crate) fn precision(x: &Tensor<4>) -> Precision {
    match x.dtype() {
        DType::BF16 => Precision::Bf16,
        _ => Precision::F32,
    }
}

/// Sets the running statistics and returns the kernel's output.
pub(crate) fn update_running_statistics<'a, const D: usize>(
    kernel: Output<D>,
    convolutions: impl Iterator<Item = &'a ConvNorm>,
) -> Tensor<D> {
    for (conv, running) in convolutions.zip(kernel.running) {
        conv.norm.set_running(running);
    }
    kernel.output
}

/// `plain`, a part of the network in plain Burn operations, computed in float32 whatever `x` is stored as. The output is
/// stored as `x` is.
pub(crate) fn in_float32(x: Tensor<4>, plain: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    match precision(&x) {
        Precision::Bf16 => fused::cast(plain(fused::cast(x, Precision::F32)), Precision::Bf16),
        Precision::F32 => plain(x),
    }
}

/// A convolution without bias whose padding keeps the map's size at stride 1.
pub(crate) fn convolution(
    [inputs, outputs]: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    init: &mut Initialiser,
) -> Conv2d {
    let inputs_per_group = inputs / groups;
    let fan_in = inputs_per_group * kernel * kernel;
    let padding = kernel / 2;
    Conv2d {
        weight: init.uniform([outputs, inputs_per_group, kernel, kernel], fan_in),
        bias: None,
        stride: [stride, stride],
        kernel_size: [kernel, kernel],
        dilation: [1, 1],
        groups,
        padding: PaddingConfig2d::Explicit(padding, padding, padding, padding),
    }
}
