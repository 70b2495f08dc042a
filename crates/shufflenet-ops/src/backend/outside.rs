//! [`crate::flat`], [`crate::frozen`] and others on the backends of CubeCL: operations outside of any graph. A part of a
//! tensor is a view of its memory there.

use burn::backend::{
    Backend, BackendTensor, BackendTypes, Cube, DispatchTensor, DispatchTensorKind, TensorMetadata,
};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use shufflenet_gpu::{clip, cross_entropy, flat};

use crate::backend::cube::{self, buffer, tensor};
#[cfg(feature = "fused")]
use crate::backend::fusion::register;
use crate::backend::operation::{HasKernels, Kind};
use crate::frozen::FrozenConv;

/// A backend with these operations.
trait Outside: Backend {
    fn gather(tensors: Vec<Self::FloatTensorPrimitive>) -> Self::FloatTensorPrimitive;
    fn split(flat: Self::FloatTensorPrimitive, lens: &[usize]) -> Vec<Self::FloatTensorPrimitive>;
    fn infer(
        kind: Kind,
        tensors: Vec<Self::FloatTensorPrimitive>,
        norms: Vec<Self::FloatTensorPrimitive>,
    ) -> Self::FloatTensorPrimitive;
    fn clip(flat: Self::FloatTensorPrimitive, most: f64) -> Self::FloatTensorPrimitive;
    fn cross_entropy_gradient(
        logits: Self::FloatTensorPrimitive,
        factors: Self::FloatTensorPrimitive,
    ) -> Self::FloatTensorPrimitive;
}

/// Whether the tensor is float32, outside of any graph, on such a backend.
pub(crate) fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
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

/// The tensor scaled down to the norm `most`, as [`crate::clip_norm`] has it. It is [served](serves).
pub(crate) fn clip(flat: Tensor<1>, most: f64) -> Tensor<1> {
    match unwrapped(flat.clone()) {
        Some(flat) => wrapped(Cube::clip(flat, most)),
        None => flat,
    }
}

/// [`crate::cross_entropy_gradient`] of tensors that are [served](serves). `None`: they are not.
pub(crate) fn cross_entropy_gradient(logits: &Tensor<2>, factors: &Tensor<2>) -> Option<Tensor<2>> {
    if !serves(logits) || !serves(factors) {
        return None;
    }
    let [logits, factors] = [logits, factors].map(|tensor| unwrapped(tensor.clone()));
    Some(wrapped(Cube::cross_entropy_gradient(logits?, factors?)))
}

/// A part of the network in inference. `tensors` is the input, then weight, gamma and beta of each convolution, and `norms`
/// the rows of their norms. The input is [served](serves).
pub(crate) fn infer<const D: usize>(
    kind: Kind,
    x: Tensor<4>,
    convolutions: &[&FrozenConv],
) -> Option<Tensor<D>> {
    let (mut tensors, mut norms) = (vec![unwrapped(x)?], Vec::new());
    for conv in convolutions {
        tensors.push(unwrapped(conv.weight.clone())?);
        tensors.push(unwrapped(conv.gamma.clone())?);
        tensors.push(unwrapped(conv.beta.clone())?);
        norms.push(unwrapped(conv.norm.clone())?);
    }
    Some(wrapped(Cube::infer(kind, tensors, norms)))
}

type Primitive = <Cube as BackendTypes>::FloatTensorPrimitive;

fn unwrapped<const D: usize>(tensor: Tensor<D>) -> Option<Primitive> {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Cube(tensor) => Some(tensor.float()),
        _ => None,
    }
}

fn wrapped<const D: usize>(tensor: Primitive) -> Tensor<D> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Cube(BackendTensor::Float(tensor)),
        autodiff: Default::default(),
    })
}

impl Outside for CubeBackend {
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

    fn infer(kind: Kind, tensors: Vec<CubeTensor>, norms: Vec<CubeTensor>) -> CubeTensor {
        cube::infer(&Self::operation(kind, tensors), norms)
    }

    fn clip(flat: CubeTensor, most: f64) -> CubeTensor {
        let (device, shape) = (flat.device.clone(), flat.meta.shape().to_vec());
        tensor(clip::clip(&buffer(flat), most), &shape, &device)
    }

    fn cross_entropy_gradient(logits: CubeTensor, factors: CubeTensor) -> CubeTensor {
        let (device, shape) = (logits.device.clone(), logits.meta.shape().to_vec());
        let classes = shape.last().copied().unwrap_or(1);
        let [logits, factors] = [logits, factors].map(|x| buffer(into_contiguous(x)));
        tensor(
            cross_entropy::gradient(&logits, &factors, classes),
            &shape,
            &device,
        )
    }
}

/// Beneath `fusion` each is an entry of its queue.
#[cfg(feature = "fused")]
impl Outside for burn::backend::fusion::Fusion<CubeBackend> {
    fn gather(tensors: Vec<Primitive>) -> Primitive {
        let len = flat::len(tensors.iter().map(|tensor| tensor.shape[0]));
        let run = |tensors| Ok(vec![CubeBackend::gather(tensors)]);
        let mut made = register(tensors, vec![([len].into(), DType::F32)], run);
        made.swap_remove(0)
    }

    fn split(flat: Primitive, lens: &[usize]) -> Vec<Primitive> {
        let shapes = lens.iter().map(|&len| ([len].into(), DType::F32)).collect();
        let lens = lens.to_vec();
        let run =
            move |mut flat: Vec<CubeTensor>| Ok(CubeBackend::split(flat.swap_remove(0), &lens));
        register(vec![flat], shapes, run)
    }

    fn infer(kind: Kind, tensors: Vec<Primitive>, norms: Vec<Primitive>) -> Primitive {
        Self::operation(kind, tensors).infer(norms)
    }

    fn clip(flat: Primitive, most: f64) -> Primitive {
        let shape = (flat.shape.clone(), DType::F32);
        let run =
            move |mut flat: Vec<CubeTensor>| Ok(vec![CubeBackend::clip(flat.swap_remove(0), most)]);
        register(vec![flat], vec![shape], run).swap_remove(0)
    }

    fn cross_entropy_gradient(logits: Primitive, factors: Primitive) -> Primitive {
        let shape = (logits.shape.clone(), DType::F32);
        let run = |mut tensors: Vec<CubeTensor>| {
            let factors = tensors.swap_remove(1);
            let logits = tensors.swap_remove(0);
            Ok(vec![CubeBackend::cross_entropy_gradient(logits, factors)])
        };
        register(vec![logits, factors], vec![shape], run).swap_remove(0)
    }
}
