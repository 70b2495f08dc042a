//! The kernels as operations of a Burn backend, each one node of the autodiff graph.
//!
//! [`Kernels`] is implemented for Flex and for autodiff on Flex only. On every other backend the
//! caller uses plain `Tensor` operations, which Burn differentiates. So the caller of an operation
//! checks [`serves`](crate::fused::serves) first.

use std::fmt;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, ExtensionType, Flex, backend_extension};
use burn_flex::FlexTensor;

use crate::backend::operation::{Kind, Operation, Saved};
use crate::precision::Precision;

/// Weights of a convolution and its batch norm.
#[derive(ExtensionType)]
pub struct ConvNormTensors<B: Backend> {
    pub weight: FloatTensor<B>,
    pub gamma: FloatTensor<B>,
    pub beta: FloatTensor<B>,
}

/// Weights of a branch: 1x1, depthwise 3x3, 1x1.
#[derive(ExtensionType)]
pub struct BranchTensors<B: Backend> {
    #[extension_type]
    pub pointwise1: ConvNormTensors<B>,
    #[extension_type]
    pub depthwise: ConvNormTensors<B>,
    #[extension_type]
    pub pointwise2: ConvNormTensors<B>,
}

/// Output of an operation.
#[derive(ExtensionType)]
pub struct OutputTensors<B: Backend> {
    pub output: FloatTensor<B>,
    /// Mean and unbiased variance of each batch norm, one after the other, outside the graph.
    pub statistics: FloatTensor<B>,
}

/// The operations that Flex has kernels for; [`crate::fused`] documents them.
#[backend_extension(Flex, Autodiff)]
pub trait Kernels: Backend {
    fn stem(
        images: FloatTensor<Self>,
        #[extension_type] conv: ConvNormTensors<Self>,
        stride: usize,
        pool: Option<usize>,
        precision: Precision,
        epsilon: f64,
    ) -> OutputTensors<Self>;

    fn basic_unit(
        x: FloatTensor<Self>,
        #[extension_type] right: BranchTensors<Self>,
        left_channels: usize,
        residual: bool,
        epsilon: f64,
    ) -> OutputTensors<Self>;

    fn downsample_unit(
        x: FloatTensor<Self>,
        #[extension_type] right: BranchTensors<Self>,
        #[extension_type] left_depthwise: ConvNormTensors<Self>,
        #[extension_type] left_pointwise: ConvNormTensors<Self>,
        right_first: bool,
        epsilon: f64,
    ) -> OutputTensors<Self>;

    fn head(
        x: FloatTensor<Self>,
        #[extension_type] conv: ConvNormTensors<Self>,
        epsilon: f64,
    ) -> OutputTensors<Self>;
}

impl Kernels for Flex {
    fn stem(
        images: FlexTensor,
        conv: ConvNormTensors<Self>,
        stride: usize,
        pool: Option<usize>,
        precision: Precision,
        epsilon: f64,
    ) -> OutputTensors<Self> {
        let kind = Kind::Stem {
            stride,
            pool,
            precision,
        };
        compute(kind, images, [conv], epsilon)
    }

    fn basic_unit(
        x: FlexTensor,
        right: BranchTensors<Self>,
        left_channels: usize,
        residual: bool,
        epsilon: f64,
    ) -> OutputTensors<Self> {
        let kind = Kind::Basic {
            left_channels,
            residual,
        };
        compute(kind, x, convolutions(right), epsilon)
    }

    fn downsample_unit(
        x: FlexTensor,
        right: BranchTensors<Self>,
        left_depthwise: ConvNormTensors<Self>,
        left_pointwise: ConvNormTensors<Self>,
        right_first: bool,
        epsilon: f64,
    ) -> OutputTensors<Self> {
        let convolutions = convolutions(right)
            .into_iter()
            .chain([left_depthwise, left_pointwise]);
        compute(Kind::Downsample { right_first }, x, convolutions, epsilon)
    }

    fn head(x: FlexTensor, conv: ConvNormTensors<Self>, epsilon: f64) -> OutputTensors<Self> {
        compute(Kind::Head, x, [conv], epsilon)
    }
}

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
    fn stem(
        images: FloatTensor<Self>,
        conv: ConvNormTensors<Self>,
        stride: usize,
        pool: Option<usize>,
        precision: Precision,
        epsilon: f64,
    ) -> OutputTensors<Self> {
        let kind = Kind::Stem {
            stride,
            pool,
            precision,
        };
        record::<C, 4>(kind, images, [conv], epsilon)
    }

    fn basic_unit(
        x: FloatTensor<Self>,
        right: BranchTensors<Self>,
        left_channels: usize,
        residual: bool,
        epsilon: f64,
    ) -> OutputTensors<Self> {
        let kind = Kind::Basic {
            left_channels,
            residual,
        };
        record::<C, 10>(kind, x, convolutions(right), epsilon)
    }

    fn downsample_unit(
        x: FloatTensor<Self>,
        right: BranchTensors<Self>,
        left_depthwise: ConvNormTensors<Self>,
        left_pointwise: ConvNormTensors<Self>,
        right_first: bool,
        epsilon: f64,
    ) -> OutputTensors<Self> {
        let convolutions = convolutions(right)
            .into_iter()
            .chain([left_depthwise, left_pointwise]);
        record::<C, 16>(Kind::Downsample { right_first }, x, convolutions, epsilon)
    }

    fn head(
        x: FloatTensor<Self>,
        conv: ConvNormTensors<Self>,
        epsilon: f64,
    ) -> OutputTensors<Self> {
        record::<C, 4>(Kind::Head, x, [conv], epsilon)
    }
}

fn convolutions<B: Backend>(branch: BranchTensors<B>) -> [ConvNormTensors<B>; 3] {
    [branch.pointwise1, branch.depthwise, branch.pointwise2]
}

/// The input and the convolutions' tensors, in the order of [`Operation::new`].
fn tensors<B: Backend>(
    x: FloatTensor<B>,
    convolutions: impl IntoIterator<Item = ConvNormTensors<B>>,
) -> impl Iterator<Item = FloatTensor<B>> {
    let weights = convolutions
        .into_iter()
        .flat_map(|conv| [conv.weight, conv.gamma, conv.beta]);
    std::iter::once(x).chain(weights)
}

fn compute(
    kind: Kind,
    x: FlexTensor,
    convolutions: impl IntoIterator<Item = ConvNormTensors<Flex>>,
    epsilon: f64,
) -> OutputTensors<Flex> {
    let operation = Operation::new(kind, tensors::<Flex>(x, convolutions));
    let forward = operation.forward(epsilon);
    OutputTensors {
        output: forward.output,
        statistics: forward.statistics,
    }
}

/// Runs the forward of an operation on `N` tensors, and adds it to the graph as one node.
fn record<C: CheckpointStrategy, const N: usize>(
    kind: Kind,
    x: FloatTensor<Autodiff<Flex, C>>,
    convolutions: impl IntoIterator<Item = ConvNormTensors<Autodiff<Flex, C>>>,
    epsilon: f64,
) -> OutputTensors<Autodiff<Flex, C>> {
    let tensors = tensors::<Autodiff<Flex, C>>(x, convolutions);
    let (primitives, nodes): (Vec<_>, Vec<_>) = tensors.map(|tensor| tensor.into_parts()).unzip();
    let Ok(nodes) = nodes.try_into() else {
        unreachable!("an operation of this kind has {N} tensors")
    };
    let operation = Operation::new(kind, primitives);
    let forward = operation.forward(epsilon);
    let statistics = <Autodiff<Flex, C>>::from_inner(forward.statistics);
    let output = match Node::<N>.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let saved = Arc::new(forward.saved);
            prep.finish(State { operation, saved }, forward.output)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward.output),
    };
    OutputTensors { output, statistics }
}

/// An operation in the graph, with `N` parents.
#[derive(Debug)]
struct Node<const N: usize>;

#[derive(Clone)]
struct State {
    operation: Operation,
    saved: Arc<Saved>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operation.fmt(f)
    }
}

impl<const N: usize> Backward<Flex, N> for Node<N> {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let output = grads.consume::<Flex>(&ops.node);
        let State { operation, saved } = ops.state;
        let for_input = ops.parents[0].is_some();
        let gradients = operation.backward(&saved, output, for_input);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}
