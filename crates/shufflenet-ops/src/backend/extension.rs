//! The parts of the network as operations of a Burn backend.
//!
//! [`Kernels`] is implemented for Flex, for the GPU backends, and for autodiff on these. On every other backend the
//! caller uses plain `Tensor` operations, which Burn differentiates. So the caller of an operation
//! checks [`serves`](crate::fused::serves) first.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, backend_extension};
use shufflenet_kernels::Precision;

use crate::backend::node::Apply;
use crate::backend::operation::{Kind, NormConfig};

/// A convolution and its batch norm.
#[derive(ExtensionType)]
pub struct ConvNormTensors<B: Backend> {
    pub weight: FloatTensor<B>,
    pub gamma: FloatTensor<B>,
    pub beta: FloatTensor<B>,
    #[extension_type]
    pub running: RunningTensors<B>,
}

/// Running statistics of a batch norm.
#[derive(ExtensionType)]
pub struct RunningTensors<B: Backend> {
    pub mean: FloatTensor<B>,
    pub variance: FloatTensor<B>,
}

/// The convolutions of a branch: 1x1, depthwise 3x3, 1x1.
#[derive(ExtensionType)]
pub struct BranchTensors<B: Backend> {
    #[extension_type]
    pub pointwise1: ConvNormTensors<B>,
    #[extension_type]
    pub depthwise: ConvNormTensors<B>,
    #[extension_type]
    pub pointwise2: ConvNormTensors<B>,
}

/// Output of an operation with one convolution.
#[derive(ExtensionType)]
pub struct ConvOutput<B: Backend> {
    pub output: FloatTensor<B>,
    /// The running statistics after the batch, outside the graph.
    #[extension_type]
    pub running: RunningTensors<B>,
}

/// Output of a stride-1 unit.
#[derive(ExtensionType)]
pub struct BasicOutput<B: Backend> {
    pub output: FloatTensor<B>,
    #[extension_type]
    pub pointwise1: RunningTensors<B>,
    #[extension_type]
    pub depthwise: RunningTensors<B>,
    #[extension_type]
    pub pointwise2: RunningTensors<B>,
}

/// Output of a stride-2 unit.
#[derive(ExtensionType)]
pub struct DownsampleOutput<B: Backend> {
    #[extension_type]
    pub right: BasicOutput<B>,
    #[extension_type]
    pub left_depthwise: RunningTensors<B>,
    #[extension_type]
    pub left_pointwise: RunningTensors<B>,
}

/// The operations that have kernels; [`crate::fused`] documents them.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait Kernels: Backend {
    fn stem(
        images: FloatTensor<Self>,
        #[extension_type] conv: ConvNormTensors<Self>,
        stride: usize,
        pool: Option<usize>,
        precision: Precision,
        config: NormConfig,
    ) -> ConvOutput<Self>;

    fn basic_unit(
        x: FloatTensor<Self>,
        #[extension_type] right: BranchTensors<Self>,
        left_channels: usize,
        residual: bool,
        config: NormConfig,
    ) -> BasicOutput<Self>;

    fn downsample_unit(
        x: FloatTensor<Self>,
        #[extension_type] right: BranchTensors<Self>,
        #[extension_type] left_depthwise: ConvNormTensors<Self>,
        #[extension_type] left_pointwise: ConvNormTensors<Self>,
        right_first: bool,
        config: NormConfig,
    ) -> DownsampleOutput<Self>;

    fn head(
        x: FloatTensor<Self>,
        #[extension_type] conv: ConvNormTensors<Self>,
        config: NormConfig,
    ) -> ConvOutput<Self>;

    fn cast(x: FloatTensor<Self>, precision: Precision) -> FloatTensor<Self>;
}

impl<B: Apply> Kernels for B {
    fn stem(
        images: FloatTensor<Self>,
        conv: ConvNormTensors<Self>,
        stride: usize,
        pool: Option<usize>,
        precision: Precision,
        config: NormConfig,
    ) -> ConvOutput<Self> {
        let kind = Kind::Stem {
            stride,
            pool,
            precision,
        };
        let (output, [running]) = B::apply::<1, 4>(kind, images, [conv], config);
        ConvOutput { output, running }
    }

    fn basic_unit(
        x: FloatTensor<Self>,
        right: BranchTensors<Self>,
        left_channels: usize,
        residual: bool,
        config: NormConfig,
    ) -> BasicOutput<Self> {
        let kind = Kind::Basic {
            left_channels,
            residual,
        };
        let convolutions = [right.pointwise1, right.depthwise, right.pointwise2];
        let (output, running) = B::apply::<3, 10>(kind, x, convolutions, config);
        let [pointwise1, depthwise, pointwise2] = running;
        BasicOutput {
            output,
            pointwise1,
            depthwise,
            pointwise2,
        }
    }

    fn downsample_unit(
        x: FloatTensor<Self>,
        right: BranchTensors<Self>,
        left_depthwise: ConvNormTensors<Self>,
        left_pointwise: ConvNormTensors<Self>,
        right_first: bool,
        config: NormConfig,
    ) -> DownsampleOutput<Self> {
        let kind = Kind::Downsample { right_first };
        let convolutions = [
            right.pointwise1,
            right.depthwise,
            right.pointwise2,
            left_depthwise,
            left_pointwise,
        ];
        let (output, running) = B::apply::<5, 16>(kind, x, convolutions, config);
        let [
            pointwise1,
            depthwise,
            pointwise2,
            left_depthwise,
            left_pointwise,
        ] = running;
        DownsampleOutput {
            right: BasicOutput {
                output,
                pointwise1,
                depthwise,
                pointwise2,
            },
            left_depthwise,
            left_pointwise,
        }
    }

    fn head(
        x: FloatTensor<Self>,
        conv: ConvNormTensors<Self>,
        config: NormConfig,
    ) -> ConvOutput<Self> {
        let (output, [running]) = B::apply::<1, 4>(Kind::Head, x, [conv], config);
        ConvOutput { output, running }
    }

    fn cast(x: FloatTensor<Self>, precision: Precision) -> FloatTensor<Self> {
        // There is no norm.
        let config = NormConfig {
            epsilon: 0.0,
            momentum: 0.0,
        };
        let (output, []) = B::apply::<0, 1>(Kind::Cast { precision }, x, [], config);
        output
    }
}
