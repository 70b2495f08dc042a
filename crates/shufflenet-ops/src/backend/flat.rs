//! [`crate::flat`] on the backends of CubeCL, where a part of a tensor is a view of its memory.

use burn::backend::{BackendTensor, Cube, DispatchTensor, DispatchTensorKind, TensorMetadata};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use shufflenet_gpu::flat;

use crate::backend::cube::{buffer, tensor};
#[cfg(feature = "fused")]
use crate::backend::fusion::register;

/// A backend whose tensors can be views of one tensor.
trait Views: burn::backend::Backend {
    fn gather(tensors: Vec<Self::FloatTensorPrimitive>) -> Self::FloatTensorPrimitive;
    fn split(flat: Self::FloatTensorPrimitive, lens: &[usize]) -> Vec<Self::FloatTensorPrimitive>;
}

/// Whether the tensor is float32, outside of any graph, on such a backend.
pub(crate) fn serves(tensor: &Tensor<1>) -> bool {
    let tensor = tensor.clone().into_dispatch();
    matches!(&tensor.kind, DispatchTensorKind::Cube(x) if x.dtype() == DType::F32)
}

/// [`crate::flat::gather`] of tensors that are [served](serves).
pub(crate) fn gather(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    wrapped(Cube::gather(
        tensors.into_iter().filter_map(unwrapped).collect(),
    ))
}

/// [`crate::flat::split`] of a tensor that is [served](serves).
pub(crate) fn split(flat: Tensor<1>, lens: &[usize]) -> Vec<Tensor<1>> {
    let parts = unwrapped(flat).map(|flat| Cube::split(flat, lens));
    parts.into_iter().flatten().map(wrapped).collect()
}

type Primitive = <Cube as burn::backend::BackendTypes>::FloatTensorPrimitive;

fn unwrapped(tensor: Tensor<1>) -> Option<Primitive> {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Cube(tensor) => Some(tensor.float()),
        _ => None,
    }
}

fn wrapped(tensor: Primitive) -> Tensor<1> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Cube(BackendTensor::Float(tensor)),
        autodiff: Default::default(),
    })
}

impl Views for CubeBackend {
    fn gather(tensors: Vec<CubeTensor>) -> CubeTensor {
        let device = tensors[0].device.clone();
        let tensors = tensors.into_iter();
        let buffers: Vec<_> = tensors.map(|x| buffer(into_contiguous(x))).collect();
        let flat = flat::gather(&buffers);
        let len = flat.len;
        tensor(flat, &[len], &device)
    }

    fn split(flat: CubeTensor, lens: &[usize]) -> Vec<CubeTensor> {
        let device = flat.device.clone();
        let parts = flat::split(&buffer(flat), lens).into_iter();
        parts
            .map(|part| {
                let len = part.len;
                tensor(part, &[len], &device)
            })
            .collect()
    }
}

/// Beneath `fusion` each is an entry of its queue.
#[cfg(feature = "fused")]
impl Views for burn::backend::fusion::Fusion<CubeBackend> {
    fn gather(tensors: Vec<Primitive>) -> Primitive {
        let len = flat::len(tensors.iter().map(|tensor| tensor.shape[0]));
        let run = |tensors| Ok(vec![CubeBackend::gather(tensors)]);
        let mut made = register(tensors, vec![[len].into()], run);
        made.swap_remove(0)
    }

    fn split(flat: Primitive, lens: &[usize]) -> Vec<Primitive> {
        let shapes = lens.iter().map(|&len| [len].into()).collect();
        let lens = lens.to_vec();
        let run =
            move |mut flat: Vec<CubeTensor>| Ok(CubeBackend::split(flat.swap_remove(0), &lens));
        register(vec![flat], shapes, run)
    }
}
