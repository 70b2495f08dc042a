//! Operations on CubeCL's backends beneath Burn's `fusion`, which queues operations and executes them later, on a thread of
//! its own.
//!
//! An operation of ours is one entry of that queue: its outputs' shapes are known at once, and their values when the queue
//! comes to it. What the forward keeps is made then, too, so the backward finds it in a cell that both hold.

use std::sync::{Arc, OnceLock};

use burn::backend::fusion::custom::{
    CustomOpIr, HandleContainer, OperationFn, OperationIr, StreamId, TensorIr,
};
use burn::backend::fusion::{Fusion, FusionRuntime, FusionTensor};
use burn::tensor::ExecutionError;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::fusion::FusionCubeRuntime;
use burn_cubecl::tensor::CubeTensor;

use crate::backend::cube;
use crate::backend::extension::RunningTensors;
use crate::backend::operation::{Forward, HasKernels, Kind, NormConfig, Operation, dtype};

type Tensor = FusionTensor<FusionCubeRuntime>;
type Handles = HandleContainer<<FusionCubeRuntime as FusionRuntime>::FusionHandle>;

/// The operation beneath, and what it keeps, once the forward is executed.
type Saved = Arc<OnceLock<(Operation<CubeBackend>, cube::Saved)>>;

impl HasKernels for Fusion<CubeBackend> {
    type Saved = Saved;

    fn operation(kind: Kind, tensors: Vec<Tensor>) -> Operation<Self> {
        Operation { kind, tensors }
    }

    fn forward(
        operation: &Operation<Self>,
        running: Vec<RunningTensors<Self>>,
        config: NormConfig,
    ) -> Forward<Self> {
        let kind = operation.kind;
        let float32 = |tensor: &Tensor| (tensor.shape.clone(), DType::F32);
        let mut shapes = vec![operation.output_shape()];
        let mut inputs = operation.tensors.clone();
        let count = inputs.len();
        for RunningTensors { mean, variance } in running {
            shapes.extend([float32(&mean), float32(&variance)]);
            inputs.extend([mean, variance]);
        }
        let saved = Saved::default();
        let cell = saved.clone();
        let mut outputs = register(inputs, shapes, move |mut tensors| {
            let running = pairs(tensors.split_off(count).into_iter());
            let operation = CubeBackend::operation(kind, tensors);
            let forward = CubeBackend::forward(&operation, running.collect(), config);
            // The queue executes an operation once.
            let _ = cell.set((operation, forward.saved));
            let running = forward.running.into_iter();
            let running = running.flat_map(|running| [running.mean, running.variance]);
            Ok(std::iter::once(forward.output).chain(running).collect())
        });
        let running = pairs(outputs.split_off(1).into_iter()).collect();
        let Some(output) = outputs.pop() else {
            unreachable!("as many outputs as shapes")
        };
        Forward {
            output,
            running,
            saved,
        }
    }

    fn backward(
        operation: &Operation<Self>,
        saved: &Saved,
        output: Tensor,
        for_input: bool,
    ) -> Vec<Option<Tensor>> {
        let with_input = for_input || !matches!(operation.kind, Kind::Stem { .. });
        let skipped = usize::from(!with_input);
        let shapes = operation.tensors[skipped..].iter();
        let shapes = shapes.map(|tensor| (tensor.shape.clone(), tensor.dtype));
        let shapes = shapes.collect();
        let cell = saved.clone();
        let gradients = register(vec![output], shapes, move |mut tensors| {
            let (Some((operation, saved)), Some(output)) = (cell.get(), tensors.pop()) else {
                return Err(ExecutionError::generic(
                    "the forward of this operation failed",
                ));
            };
            let gradients = CubeBackend::backward(operation, saved, output, for_input);
            Ok(gradients.into_iter().flatten().collect())
        });
        let skipped = std::iter::repeat_n(None, skipped);
        skipped.chain(gradients.into_iter().map(Some)).collect()
    }
}

impl Operation<Fusion<CubeBackend>> {
    /// Queues the operation in inference, as [`cube::infer`] computes it.
    pub(super) fn infer(&self, norms: Vec<Tensor>) -> Tensor {
        let (kind, count) = (self.kind, self.tensors.len());
        let inputs = self.tensors.iter().cloned().chain(norms).collect();
        let mut made = register(inputs, vec![self.output_shape()], move |mut tensors| {
            let norms = tensors.split_off(count);
            let operation = CubeBackend::operation(kind, tensors);
            Ok(vec![cube::infer(&operation, norms)])
        });
        made.swap_remove(0)
    }

    /// The output's shape, and what it is stored as.
    fn output_shape(&self) -> (Shape, DType) {
        let dtype = match self.kind {
            Kind::Stem { precision, .. } | Kind::Cast { precision } => dtype(precision),
            Kind::Basic { .. } | Kind::Downsample { .. } => self.tensors[0].dtype,
            Kind::Head => DType::F32,
        };
        (self.output_dimensions(), dtype)
    }

    fn output_dimensions(&self) -> Shape {
        let [images, _, height, width] = self.tensors[0].shape.dims();
        let outputs = |conv: usize| self.tensors[1 + 3 * conv].shape[0];
        match self.kind {
            Kind::Stem { stride, pool, .. } => {
                let side = |side: usize| {
                    let convolved = side.div_ceil(stride);
                    pool.map_or(convolved, |padding| {
                        shufflenet_gpu::max_pool::pooled(convolved, padding)
                    })
                };
                Shape::new([images, outputs(0), side(height), side(width)])
            }
            Kind::Basic { left_channels, .. } => {
                Shape::new([images, left_channels + outputs(2), height, width])
            }
            Kind::Downsample { .. } => {
                let [height, width] = [height, width].map(|side| side.div_ceil(2));
                Shape::new([images, outputs(2) + outputs(4), height, width])
            }
            Kind::Head => Shape::new([images, outputs(0)]),
            Kind::Cast { .. } => self.tensors[0].shape.clone(),
        }
    }
}

/// Queues `run`, which computes tensors of these shapes and types from `inputs`.
pub(super) fn register(
    inputs: Vec<Tensor>,
    shapes: Vec<(Shape, DType)>,
    run: impl Fn(Vec<CubeTensor>) -> Result<Vec<CubeTensor>, ExecutionError> + Send + Sync + 'static,
) -> Vec<Tensor> {
    let client = inputs[0].client.clone();
    let inputs: Vec<TensorIr> = inputs.into_iter().map(Tensor::into_ir).collect();
    let output = |(shape, dtype)| TensorIr::uninit(client.create_empty_handle(), shape, dtype);
    let outputs: Vec<TensorIr> = shapes.into_iter().map(output).collect();
    let description = CustomOpIr::new("shufflenet", &inputs, &outputs);
    let operation = OperationFn(move |handles: &mut Handles| {
        let tensors = inputs
            .iter()
            .map(|input| handles.get_float_tensor::<CubeBackend>(input));
        let tensors = tensors.collect();
        for (output, tensor) in outputs.iter().zip(run(tensors)?) {
            handles.register_float_tensor::<CubeBackend>(&output.id, tensor);
        }
        Ok(())
    });
    client.register(
        StreamId::current(),
        OperationIr::Custom(description),
        operation,
    )
}

fn pairs<B: HasKernels>(
    mut tensors: impl Iterator<Item = burn::backend::tensor::FloatTensor<B>>,
) -> impl Iterator<Item = RunningTensors<B>> {
    std::iter::from_fn(move || {
        Some(RunningTensors {
            mean: tensors.next()?,
            variance: tensors.next()?,
        })
    })
}
