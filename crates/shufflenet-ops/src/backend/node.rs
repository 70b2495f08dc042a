//! An operation as one node of the autodiff graph, and without a graph.

use std::fmt;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend};

use crate::backend::extension::{ConvNormTensors, RunningTensors};
use crate::backend::operation::{Forward, HasKernels, Kind, NormConfig, Operation};

/// A backend that runs an operation, with or without a graph.
pub(crate) trait Apply: Backend {
    /// Runs the forward of an operation on `N` tensors: the input, and three of each of the `C` convolutions. Returns the
    /// output, and the running statistics after the batch.
    fn apply<const C: usize, const N: usize>(
        kind: Kind,
        x: FloatTensor<Self>,
        convolutions: [ConvNormTensors<Self>; C],
        config: NormConfig,
    ) -> (FloatTensor<Self>, [RunningTensors<Self>; C]);
}

impl<B: HasKernels> Apply for B {
    fn apply<const C: usize, const N: usize>(
        kind: Kind,
        x: FloatTensor<B>,
        convolutions: [ConvNormTensors<B>; C],
        config: NormConfig,
    ) -> (FloatTensor<B>, [RunningTensors<B>; C]) {
        let (tensors, running) = taken_apart(x, convolutions);
        let operation = B::operation(kind, tensors);
        let Forward {
            output, running, ..
        } = B::forward(&operation, running, config);
        (output, all(running))
    }
}

impl<B: HasKernels, S: CheckpointStrategy> Apply for Autodiff<B, S> {
    fn apply<const C: usize, const N: usize>(
        kind: Kind,
        x: FloatTensor<Self>,
        convolutions: [ConvNormTensors<Self>; C],
        config: NormConfig,
    ) -> (FloatTensor<Self>, [RunningTensors<Self>; C]) {
        let (tensors, running) = taken_apart::<Self, C>(x, convolutions);
        let tensors = tensors.into_iter().map(|tensor| tensor.into_parts());
        let (primitives, nodes): (Vec<_>, Vec<_>) = tensors.unzip();
        let running = running.into_iter().map(|running| RunningTensors {
            mean: Self::inner(running.mean),
            variance: Self::inner(running.variance),
        });
        let operation = B::operation(kind, primitives);
        let forward = B::forward(&operation, running.collect(), config);
        let node = Node::<N>.prepare::<S>(all(nodes));
        let output = match node.compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = Arc::new(forward.saved);
                prep.finish(State { operation, saved }, forward.output)
            }
            OpsKind::UnTracked(prep) => prep.finish(forward.output),
        };
        let outside = |running: RunningTensors<B>| RunningTensors {
            mean: Self::from_inner(running.mean),
            variance: Self::from_inner(running.variance),
        };
        (output, all::<_, C>(forward.running).map(outside))
    }
}

/// The tensors of an operation in the order of [`Operation`], and the running statistics.
fn taken_apart<B: Backend, const C: usize>(
    x: FloatTensor<B>,
    convolutions: [ConvNormTensors<B>; C],
) -> (Vec<FloatTensor<B>>, Vec<RunningTensors<B>>) {
    let mut tensors = vec![x];
    let mut running = Vec::new();
    for conv in convolutions {
        tensors.extend([conv.weight, conv.gamma, conv.beta]);
        running.push(conv.running);
    }
    (tensors, running)
}

/// The values of an operation that has `N` of them.
fn all<T, const N: usize>(values: Vec<T>) -> [T; N] {
    let found = values.len();
    let Ok(values) = values.try_into() else {
        unreachable!("{found} values where the operation has {N}")
    };
    values
}

/// An operation in the graph, with `N` parents.
#[derive(Debug)]
struct Node<const N: usize>;

struct State<B: HasKernels> {
    operation: Operation<B>,
    saved: Arc<B::Saved>,
}

impl<B: HasKernels> Clone for State<B> {
    fn clone(&self) -> Self {
        Self {
            operation: self.operation.clone(),
            saved: self.saved.clone(),
        }
    }
}

impl<B: HasKernels> fmt::Debug for State<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operation.fmt(f)
    }
}

impl<B: HasKernels, const N: usize> Backward<B, N> for Node<N> {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let output = grads.consume::<B>(&ops.node);
        let State { operation, saved } = ops.state;
        let for_input = ops.parents[0].is_some();
        let gradients = B::backward(&operation, &saved, output, for_input);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}
