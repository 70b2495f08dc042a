//! The network's parts in inference on a GPU: the kernels of training, with norms made of running statistics.
//!
//! A stride-1 unit is four launches, a stride-2 unit six, stem and head two each. Nothing is kept for a backward. (On the
//! CPU inference is [`shufflenet_kernels::inference`].)

use burn::tensor::{DType, Tensor, TensorData};
use shufflenet_gpu::norms::FrozenNorm;
use shufflenet_kernels::Precision;

use crate::backend::operation::Kind;
use crate::backend::outside;
use crate::fused::has_kernels_on;

/// A convolution without bias, and its batch norm with the statistics that it has in inference.
#[derive(Clone, Debug)]
pub struct FrozenConv {
    pub(crate) weight: Tensor<4>,
    pub(crate) gamma: Tensor<1>,
    pub(crate) beta: Tensor<1>,
    /// The norm as the kernels read it.
    pub(crate) norm: Tensor<1>,
}

impl FrozenConv {
    /// A convolution with `weight`, `[outputs, inputs / groups, kernel, kernel]`, whose norm is described by vectors
    /// `[outputs]`. All are float32, outside of any graph.
    pub fn new(
        weight: Tensor<4>,
        [gamma, beta]: [Tensor<1>; 2],
        [mean, variance]: [Tensor<1>; 2],
        epsilon: f64,
    ) -> Self {
        let [mean, variance, scale, shift] = [&mean, &variance, &gamma, &beta].map(|x| {
            let data = x.clone().into_data();
            data.iter::<f32>().collect::<Vec<_>>()
        });
        let norm = FrozenNorm {
            mean: &mean,
            variance: &variance,
            gamma: &scale,
            beta: &shift,
            epsilon,
        };
        let rows = norm.rows();
        let len = rows.len();
        Self {
            norm: Tensor::from_data(TensorData::new(rows, [len]), &gamma.device()),
            weight,
            gamma,
            beta,
        }
    }
}

/// Whether the operations of this module serve a network with this weight: it is float32, outside of any graph, on a GPU
/// with kernels.
pub fn serves(weight: &Tensor<4>) -> bool {
    weight.dtype() == DType::F32 && outside::serves(weight) && has_kernels_on(&weight.device())
}

/// Dense 3x3 convolution padded by 1, batch norm and ReLU, and max pooling if `pool` has its padding, as
/// [`crate::fused::stem`].
///
/// # Panics
/// If [`serves`] is false, as all functions of this module.
pub fn stem(images: Tensor<4>, conv: &FrozenConv, stride: usize, pool: Option<usize>) -> Tensor<4> {
    let kind = Kind::Stem {
        stride,
        pool,
        precision: Precision::F32,
    };
    served(outside::infer(kind, images, &[conv]))
}

/// The stride-1 unit, as [`crate::fused::basic_unit`].
pub fn basic_unit(
    x: Tensor<4>,
    right: &[FrozenConv; 3],
    left_channels: usize,
    residual: bool,
) -> Tensor<4> {
    let kind = Kind::Basic {
        left_channels,
        residual,
    };
    served(outside::infer(kind, x, &right.each_ref()))
}

/// The stride-2 unit, as [`crate::fused::downsample_unit`].
pub fn downsample_unit(
    x: Tensor<4>,
    right: &[FrozenConv; 3],
    left: &[FrozenConv; 2],
    right_first: bool,
) -> Tensor<4> {
    let convolutions: Vec<&FrozenConv> = right.iter().chain(left).collect();
    served(outside::infer(
        Kind::Downsample { right_first },
        x,
        &convolutions,
    ))
}

/// 1x1 convolution, batch norm, ReLU and the mean over the pixels, as [`crate::fused::head`].
pub fn head(x: Tensor<4>, conv: &FrozenConv) -> Tensor<2> {
    served(outside::infer(Kind::Head, x, &[conv]))
}

#[expect(clippy::panic, reason = "the caller asks first")]
fn served<const D: usize>(output: Option<Tensor<D>>) -> Tensor<D> {
    match output {
        Some(output) => output,
        None => panic!("inference by kernels of a GPU on a device without them"),
    }
}
