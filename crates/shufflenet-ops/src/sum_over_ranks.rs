//! A tensor's sum over the ranks as an operation of every backend. Batch norm over all ranks uses it on devices
//! without kernels.
//!
//! Each rank has its own addend `x_r`, and every rank gets `y = sum over r of x_r`. The loss of the job is the sum
//! of the ranks' losses. Each loss depends on its rank's copy of `y`, so
//!
//! ```text
//! dL/dx_r = sum over ranks q of dL_q/dy
//! ```
//!
//! which is a sum over the ranks again. The values go through the host, so the device waits for them.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};
use burn_std::reader::try_read_sync;
use shufflenet_kernels::ranks;

/// Sums `x` over the ranks, with the same bits on each; returns `x` if this process trains alone.
///
/// # Panics
/// If the device fails to return the values.
pub(crate) fn sum_over_ranks(x: Tensor<1>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as SumOverRanks>::sum_over_ranks(
        x.into_dispatch(),
    ))
}

/// The sum over the ranks as an operation of a backend.
#[backend_extension(
    Flex,
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "gpu"),
    Autodiff
)]
pub trait SumOverRanks: Backend {
    fn sum_over_ranks(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl SumOverRanks for Flex {
    fn sum_over_ranks(x: FloatTensor<Self>) -> FloatTensor<Self> {
        on_host::<Self>(x)
    }
}

#[cfg(feature = "ndarray")]
impl SumOverRanks for burn::backend::NdArray {
    fn sum_over_ranks(x: FloatTensor<Self>) -> FloatTensor<Self> {
        on_host::<Self>(x)
    }
}

#[cfg(feature = "gpu")]
impl SumOverRanks for burn::backend::Cube {
    fn sum_over_ranks(x: FloatTensor<Self>) -> FloatTensor<Self> {
        on_host::<Self>(x)
    }
}

impl<B: SumOverRanks, C: CheckpointStrategy> SumOverRanks for Autodiff<B, C> {
    fn sum_over_ranks(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (primitive, node) = x.into_parts();
        let sums = B::sum_over_ranks(primitive);
        match Node.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((), sums),
            OpsKind::UnTracked(prep) => prep.finish(sums),
        }
    }
}

/// The sum in the autodiff graph.
#[derive(Debug)]
struct Node;

impl<B: SumOverRanks> Backward<B, 1> for Node {
    type State = ();

    fn backward(self, ops: Ops<(), 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let of_sums = grads.consume::<B>(&ops.node);
        // Summed even if this rank does not need it: the other ranks wait for this rank's part.
        let gradient = B::sum_over_ranks(of_sums);
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, gradient);
        }
    }
}

#[expect(
    clippy::panic,
    reason = "an operation of a backend cannot return an error; Burn's own panic, too"
)]
fn on_host<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let Some(sum) = ranks::sum() else { return x };
    let device = x.device();
    let data = match try_read_sync(B::float_into_data(x)) {
        Some(Ok(data)) => data,
        Some(Err(error)) => panic!("the device gave no values to sum over the ranks: {error}"),
        None => panic!("this device cannot be waited for, as sums over the ranks must"),
    };
    let mut values: Vec<f64> = data.iter::<f64>().collect();
    sum(&mut values);
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    B::float_from_data(TensorData::new(values, data.shape()), &device)
}
