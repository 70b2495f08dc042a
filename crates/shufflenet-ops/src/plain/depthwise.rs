//! Depthwise 3x3 convolution in plain Burn operations, with a weight gradient that suits a GPU.
//!
//! Each channel has its own kernel, and its map is padded with zeros. With stride `s`,
//!
//! ```text
//! y[n, c, i, j] = sum over u, v of w[c, u, v] x[n, c, s i + u - 1, s j + v - 1]
//! ```
//!
//! So the gradient of each of the nine weights is the sum of the product of two maps:
//!
//! ```text
//! dw[c, u, v] = sum over n, i, j of dy[n, c, i, j] x[n, c, s i + u - 1, s j + v - 1].
//! ```
//!
//! Burn computes that sum as a convolution with all of `dy` for its kernel, which took half of a training step on a
//! GPU (docs/gpu.md). This module computes it as nine slices, nine products and nine sums. On the CPU Burn's
//! convolution is faster by a tenth, so this module uses it there.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::ConvOptions;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::module::conv2d;
use burn::tensor::{Device, Slice, Tensor};

/// Height and width of the kernels.
const KERNEL: usize = 3;

/// Convolves each channel with its own kernel (see the [module](self) for the equations).
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - `weight`: `[channels, 1, 3, 3]`
/// - output: `[batch, channels, ceil(height / stride), ceil(width / stride)]`
///
/// # Panics
/// If the shapes differ from these.
pub fn depthwise(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    let channels = x.dims()[1];
    assert_eq!(weight.dims(), [channels, 1, KERNEL, KERNEL]);
    match x.device().inner() == Device::flex() {
        true => conv2d(x, weight, None, options(channels, stride)),
        false => with_sliced_gradient(x, weight, stride),
    }
}

fn with_sliced_gradient(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Depthwise>::depthwise(x, weight, stride))
}

/// The depthwise convolution as an operation of a backend.
#[backend_extension(
    Flex,
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "gpu"),
    Autodiff
)]
trait Depthwise: Backend {
    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        let [_, channels, _, _] = x.shape().dims();
        Self::conv2d(x, weight, None, options(channels, stride))
    }
}

impl Depthwise for Flex {}

#[cfg(feature = "ndarray")]
impl Depthwise for burn::backend::NdArray {}

#[cfg(feature = "gpu")]
impl Depthwise for burn::backend::Cube {}

impl<B: Depthwise, C: CheckpointStrategy> Depthwise for Autodiff<B, C> {
    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let y = B::depthwise(x.clone(), weight.clone(), stride);
        let nodes = [x_node, weight_node];
        match Node.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight, stride), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// The convolution in the autodiff graph.
#[derive(Debug)]
struct Node;

impl<B: Backend> Backward<B, 2> for Node {
    type State = (FloatTensor<B>, FloatTensor<B>, usize);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (x, weight, stride) = ops.state;
        let [of_x, of_weight] = ops.parents;
        if let Some(node) = of_x {
            let [_, channels, _, _] = x.shape().dims();
            let options = options(channels, stride);
            let dx = B::conv2d_x_backward(x.clone(), weight, dy.clone(), options);
            grads.register::<B>(node.id, dx);
        }
        if let Some(node) = of_weight {
            grads.register::<B>(node.id, weight_gradient::<B>(x, dy, stride));
        }
    }
}

fn options(channels: usize, stride: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [KERNEL / 2; 2], [1; 2], channels)
}

/// `dw` of the [module](self).
fn weight_gradient<B: Backend>(
    x: FloatTensor<B>,
    dy: FloatTensor<B>,
    stride: usize,
) -> FloatTensor<B> {
    let [batch, channels, height, width] = x.shape().dims();
    let [_, _, rows, columns] = dy.shape().dims();
    let border = KERNEL / 2;
    let shape = [batch, channels, height + 2 * border, width + 2 * border];
    let zeros = B::float_zeros(shape.into(), &x.device(), x.dtype().into());
    let [all_images, all_channels] = [batch, channels].map(|n| Slice::from(0..n));
    let inside = [height, width].map(|n| Slice::from(border..border + n));
    let padded = B::float_slice_assign(zeros, &[all_images, all_channels, inside[0], inside[1]], x);
    // The map's values that a weight is multiplied by: from the weight's index in the kernel on, in strides.
    let met = |place: usize, times: usize| {
        let end = place + (times - 1) * stride + 1;
        Slice::new(place as isize, Some(end as isize), stride as isize)
    };
    let weights = (0..KERNEL * KERNEL).map(|i| {
        let (u, v) = (i / KERNEL, i % KERNEL);
        let slices = [all_images, all_channels, met(u, rows), met(v, columns)];
        let product = B::float_mul(B::float_slice(padded.clone(), &slices), dy.clone());
        B::float_sum_dims(product, &[3, 2, 0])
    });
    let weights = B::float_cat(weights.collect(), 3);
    let swapped = B::float_swap_dims(weights, 0, 1);
    B::float_reshape(swapped, [channels, 1, KERNEL, KERNEL].into())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{TensorData, Tolerance};

    use super::*;
    use shufflenet_kernels::testing::numbers;

    /// Numbers without a pattern, with a gradient.
    fn input(shape: [usize; 4], device: &Device) -> Tensor<4> {
        let numbers = numbers(shape.iter().product(), 0);
        Tensor::from_data(TensorData::new(numbers, shape), device).require_grad()
    }

    #[test]
    fn output_and_gradients_are_those_of_burns_convolution() {
        let device = Device::flex().autodiff();
        for (stride, [height, width]) in [
            (1, [5, 4]),
            (2, [6, 8]),
            (2, [5, 7]),
            (1, [1, 1]),
            (2, [2, 1]),
        ] {
            let passed = |convolve: &dyn Fn(Tensor<4>, Tensor<4>) -> Tensor<4>| {
                let x = input([3, 5, height, width], &device);
                let weight = input([5, 1, 3, 3], &device);
                let y = convolve(x.clone(), weight.clone());
                let gradients = (y.clone() * y.clone()).sum().backward();
                let [dx, dw] = [x, weight].map(|tensor| tensor.grad(&gradients).unwrap());
                [y.inner(), dx, dw].map(Tensor::into_data)
            };
            let found = passed(&|x, weight| with_sliced_gradient(x, weight, stride));
            let expected = passed(&|x, weight| conv2d(x, weight, None, options(5, stride)));
            for (found, expected) in found.iter().zip(&expected) {
                found.assert_approx_eq(expected, Tolerance::<f32>::absolute(1e-4));
            }
        }
    }
}
