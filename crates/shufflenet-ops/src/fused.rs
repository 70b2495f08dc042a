//! The network's parts in training as fused operations, on devices that have kernels for them.
//!
//! The parts are the paper's (Ma et al., 2018, table 5; figure 3 (c) and (d) for the units). Batch norms
//! normalise by the batch's statistics, and each operation is one node of the autodiff graph. [`serves`]
//! returns whether a tensor's device has the kernels; elsewhere the caller computes the same part from plain
//! Burn operations. Inference has its own implementation, [`shufflenet_kernels::inference`].
//!
//! Activations and their gradients are float32 or bfloat16 ([`Precision`]) between the operations and in what they
//! keep for the backward. The stem takes float32 images, and its argument gives the precision of its output. A unit stores
//! its output in the precision of its input. The head's output is float32. Weights, their gradients and statistics are
//! float32, and so is all computation: a value is rounded once, when it is stored, to the nearest bfloat16 (ties to even).
//! (Where two branches add to one gradient, each stores it.)

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, DispatchTensorKind, TensorMetadata};
use burn::tensor::{DType, Device, Tensor};

pub use shufflenet_kernels::Precision;

#[cfg(feature = "gpu")]
use crate::backend::cube;
use crate::backend::extension::{BranchTensors, ConvNormTensors, Kernels, RunningTensors};
pub use crate::backend::operation::NormConfig;
use crate::backend::operation::dtype;
#[cfg(feature = "gpu")]
use crate::ranks;

/// Weights of a convolution without bias, and of the batch norm after it.
#[derive(Clone, Debug)]
pub struct ConvNormWeights {
    /// `[outputs, inputs / groups, kernel, kernel]`
    pub weight: Tensor<4>,
    /// `[outputs]`
    pub gamma: Tensor<1>,
    /// `[outputs]`
    pub beta: Tensor<1>,
    /// Running statistics of the batch norm before the step.
    pub running: RunningStatistics,
}

/// Weights of a branch: 1x1, depthwise 3x3 padded by 1, 1x1; a ReLU follows the first and the last.
#[derive(Clone, Debug)]
pub struct BranchWeights {
    /// First 1x1 convolution, from the input's width to the branch's.
    pub pointwise1: ConvNormWeights,
    /// Depthwise 3x3 convolution, which carries the stride.
    pub depthwise: ConvNormWeights,
    /// Second 1x1 convolution, which keeps the branch's width.
    pub pointwise2: ConvNormWeights,
}

/// The statistics that a batch norm normalises by in inference. In training they follow those of the batches:
///
/// ```text
/// running' = (1 - momentum) running + momentum batch
/// ```
#[derive(Clone, Debug)]
pub struct RunningStatistics {
    /// Mean of each channel, `[channels]`.
    pub mean: Tensor<1>,
    /// *Unbiased* variance of each channel, `[channels]`.
    pub variance: Tensor<1>,
}

/// Output of an operation, and the running statistics of its batch norms.
#[derive(Clone, Debug)]
pub struct Output<const D: usize> {
    /// Values that the operation computes.
    pub output: Tensor<D>,
    /// The running statistics after the batch, outside the graph, in the order of the convolutions. A unit has three of
    /// the right branch, then two of the left branch if that has convolutions.
    pub running: Vec<RunningStatistics>,
}

/// Whether the operations of this module have kernels for this tensor: they do for float32 and bfloat16 on Flex, wgpu,
/// CUDA and ROCm. NdArray, LibTorch and remote devices have none. A GPU has none within
/// [`summed_by`](crate::ranks::summed_by), and none if it keeps less than WebGPU's limits.
///
/// [`stores`] returns whether the widths are served, too.
pub fn serves(x: &Tensor<4>) -> bool {
    has_kernels(&beneath(x))
}

/// The tensor of the backend beneath autodiff.
fn beneath(x: &Tensor<4>) -> DispatchTensorKind {
    match x.clone().into_dispatch().kind {
        DispatchTensorKind::Autodiff(inner) => *inner,
        kind => kind,
    }
}

fn has_kernels(tensor: &DispatchTensorKind) -> bool {
    match tensor {
        DispatchTensorKind::Flex(x) => matches!(x.dtype(), DType::F32 | DType::BF16),
        #[cfg(feature = "gpu")]
        DispatchTensorKind::Cube(x) => {
            matches!(x.dtype(), DType::F32 | DType::BF16)
                && ranks::sum().is_none()
                && cube::serves(&x.device())
        }
        _ => false,
    }
}

/// Whether [`serves`] is true of the tensors of `device`, where no ranks sum.
pub fn has_kernels_on(device: &Device) -> bool {
    serves(&Tensor::from_data([[[[0.0f32]]]], device))
}

/// Whether a map of `channels` channels can be stored as `precision` on the tensor's device. In bfloat16 a GPU reads
/// and writes two neighbouring channels at a time, so there their number is even.
pub fn stores(x: &Tensor<4>, precision: Precision, channels: usize) -> bool {
    precision == Precision::F32 || channels.is_multiple_of(2) || !is_on_gpu(x)
}

/// Whether a device of CubeCL has the tensor.
#[cfg(feature = "gpu")]
fn is_on_gpu(x: &Tensor<4>) -> bool {
    matches!(beneath(x), DispatchTensorKind::Cube(_))
}

/// Without the feature none has.
#[cfg(not(feature = "gpu"))]
fn is_on_gpu(_: &Tensor<4>) -> bool {
    false
}

/// `x` stored as `precision`, on a device that [`serves`]; its gradient is stored as `x` is. Operations of Burn compute
/// with bfloat16 on Flex alone, so elsewhere such tensors are for this module.
///
/// # Panics
/// If [`serves`] is false.
pub fn cast(x: Tensor<4>, precision: Precision) -> Tensor<4> {
    if x.dtype() == dtype(precision) {
        return x;
    }
    if !is_on_gpu(&x) {
        return x.cast(dtype(precision));
    }
    Tensor::from_dispatch(<Dispatch as Kernels>::cast(x.into_dispatch(), precision))
}

/// Dense 3x3 convolution padded by 1, batch norm and ReLU. If `pool` is `Some(padding)`, 3x3 max pooling
/// of stride 2 with that padding follows.
///
/// ```text
/// out = pool(relu(norm(W images)))
/// ```
///
/// The operation is one node of the autodiff graph. The node keeps the images, the convolution's output
/// and the position of each maximum. Images are float32, and `precision` is that of the output.
///
/// # Shapes
/// - `images`: `[batch, channels, height, width]`
/// - output: `[batch, outputs, ...]`, `ceil(size / stride)` after the convolution, `(size + 2 pool -
///   3) / 2 + 1` after the pooling
///
/// # Panics
/// If [`serves`] or [`stores`] is false, the weights are not float32 or their shapes do not fit, or batch norm has one
/// value per channel.
pub fn stem(
    images: Tensor<4>,
    conv: ConvNormWeights,
    stride: usize,
    pool: Option<usize>,
    precision: Precision,
    config: NormConfig,
) -> Output<4> {
    let [batch, _, height, width] = images.dims();
    check_values(batch * height.div_ceil(stride) * width.div_ceil(stride));
    let (images, conv) = (images.into_dispatch(), conv_norm(conv));
    let stem = <Dispatch as Kernels>::stem(images, conv, stride, pool, precision, config);
    output(stem.output, [stem.running])
}

/// 1x1 convolution, batch norm, ReLU and global average pooling.
///
/// ```text
/// out[image] = mean over its pixels of relu(norm(W x))
/// ```
///
/// The operation is one node of the autodiff graph. The node keeps `x` and the convolution's output.
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - output: `[batch, outputs]`
///
/// # Panics
/// If [`serves`] or [`stores`] is false, the weights are not float32 or their shapes do not fit, or batch norm has one
/// value per channel.
pub fn head(x: Tensor<4>, conv: ConvNormWeights, config: NormConfig) -> Output<2> {
    let [batch, _, height, width] = x.dims();
    check_values(batch * height * width);
    let (x, conv) = (x.into_dispatch(), conv_norm(conv));
    let head = <Dispatch as Kernels>::head(x, conv, config);
    output(head.output, [head.running])
}

/// The stride-1 unit. The first `left_channels` pass unchanged, and the others go through the branch. If
/// `residual` is set, the branch's input is added to its output. Concatenation and a shuffle by two groups
/// follow.
///
/// ```text
/// out = shuffle(left ++ (relu(norm(W3 norm(depthwise(relu(norm(W1 right)))))) [+ right]))
/// ```
///
/// The operation is one node of the autodiff graph. The node keeps `x` and the outputs of the three
/// convolutions.
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - output: `[batch, left_channels + branch width, height, width]`
///
/// # Panics
/// If [`serves`] or [`stores`] is false, the weights are not float32 or their shapes do not fit, or batch norm has one
/// value per channel.
pub fn basic_unit(
    x: Tensor<4>,
    right: BranchWeights,
    left_channels: usize,
    residual: bool,
    config: NormConfig,
) -> Output<4> {
    let [batch, _, height, width] = x.dims();
    check_values(batch * height * width);
    let (x, right) = (x.into_dispatch(), branch(right));
    let unit = <Dispatch as Kernels>::basic_unit(x, right, left_channels, residual, config);
    output(
        unit.output,
        [unit.pointwise1, unit.depthwise, unit.pointwise2],
    )
}

/// The stride-2 unit. The right branch is that of [`basic_unit`], and the left branch is a depthwise and a
/// 1x1 convolution. Both read the whole input and halve the map. Concatenation and a shuffle by two groups
/// follow; `right_first` puts the right branch first.
///
/// The operation is one node of the autodiff graph. The node keeps `x` and the outputs of the five
/// convolutions.
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - output: `[batch, both branches' width, ceil(height / 2), ceil(width / 2)]`
///
/// # Panics
/// If [`serves`] or [`stores`] is false, the weights are not float32 or their shapes do not fit, or batch norm has one
/// value per channel.
pub fn downsample_unit(
    x: Tensor<4>,
    right: BranchWeights,
    left: [ConvNormWeights; 2],
    right_first: bool,
    config: NormConfig,
) -> Output<4> {
    let [batch, _, height, width] = x.dims();
    check_values(batch * height.div_ceil(2) * width.div_ceil(2));
    let [depthwise, pointwise] = left;
    let (x, right) = (x.into_dispatch(), branch(right));
    let (depthwise, pointwise) = (conv_norm(depthwise), conv_norm(pointwise));
    let unit =
        <Dispatch as Kernels>::downsample_unit(x, right, depthwise, pointwise, right_first, config);
    let right = unit.right;
    let running = [
        right.pointwise1,
        right.depthwise,
        right.pointwise2,
        unit.left_depthwise,
        unit.left_pointwise,
    ];
    output(right.output, running)
}

/// Panics if a channel has a single value, which has no variance to train on.
fn check_values(values: usize) {
    assert!(
        values > 1,
        "batch norm cannot train on channels of {values} values"
    );
}

fn conv_norm(conv: ConvNormWeights) -> ConvNormTensors<Dispatch> {
    ConvNormTensors {
        weight: conv.weight.into_dispatch(),
        gamma: conv.gamma.into_dispatch(),
        beta: conv.beta.into_dispatch(),
        running: RunningTensors {
            mean: conv.running.mean.into_dispatch(),
            variance: conv.running.variance.into_dispatch(),
        },
    }
}

fn branch(branch: BranchWeights) -> BranchTensors<Dispatch> {
    BranchTensors {
        pointwise1: conv_norm(branch.pointwise1),
        depthwise: conv_norm(branch.depthwise),
        pointwise2: conv_norm(branch.pointwise2),
    }
}

fn output<const D: usize, const C: usize>(
    output: FloatTensor<Dispatch>,
    running: [RunningTensors<Dispatch>; C],
) -> Output<D> {
    let running = running.map(|running| RunningStatistics {
        mean: Tensor::from_dispatch(running.mean),
        variance: Tensor::from_dispatch(running.variance),
    });
    Output {
        output: Tensor::from_dispatch(output),
        running: running.into(),
    }
}
