//! Tensors that are stored pixel by pixel, as the kernels read and write them.
//!
//! The strides of a tensor of shape `[batch, channels, height, width]` express that order. So it takes no copy between
//! operations, and other code needs no change.

use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};
use burn_std::bf16;
use shufflenet_kernels::Buffer;
use shufflenet_kernels::training::Element;

use crate::backend::storage::bytes;

/// A stored type as the element of a tensor.
pub(super) trait Carried: Element {
    /// Burn's name of the type.
    const DTYPE: DType;

    /// All values of the tensor's storage.
    fn values(tensor: &FlexTensor) -> &[Self];
}

impl Carried for f32 {
    const DTYPE: DType = DType::F32;

    fn values(tensor: &FlexTensor) -> &[f32] {
        tensor.storage()
    }
}

impl Carried for bf16 {
    const DTYPE: DType = DType::BF16;

    fn values(tensor: &FlexTensor) -> &[bf16] {
        tensor.storage()
    }
}

/// A float32 tensor.
pub(super) fn tensor(values: Bytes, shape: &[usize]) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from(shape.to_vec()));
    FlexTensor::new(values, layout, DType::F32)
}

/// The output of an operation on `images` images as a tensor, its maps of this height and width.
pub(super) fn maps<T: Carried>(
    rows: Buffer<T>,
    images: usize,
    [height, width]: [usize; 2],
) -> FlexTensor {
    let channels = rows.len() / (images * height * width).max(1);
    from_rows(rows, [images, channels, height, width])
}

/// A tensor of `[batch, channels, height, width]` from rows of pixels, without a copy.
pub(super) fn from_rows<T: Carried>(rows: Buffer<T>, shape: [usize; 4]) -> FlexTensor {
    let layout = Layout::new(Shape::from(shape.to_vec()), pixel_strides(shape), 0);
    FlexTensor::new(bytes(rows), layout, T::DTYPE)
}

/// Strides of a `[batch, channels, height, width]` tensor that is stored pixel by pixel.
fn pixel_strides([_, channels, height, width]: [usize; 4]) -> Vec<isize> {
    [height * width * channels, 1, width * channels, channels]
        .map(|stride| stride as isize)
        .to_vec()
}

/// The tensor stored in the order of its dimensions, with nothing else in its storage. It is copied only
/// if it is not stored so already.
pub(super) fn whole<T: Carried>(x: &FlexTensor) -> FlexTensor {
    let x = x.to_contiguous();
    let values = x.layout().num_elements();
    let start = x.layout().start_offset();
    let storage = T::values(&x);
    if start == 0 && storage.len() == values {
        return x;
    }
    let mut copy = Buffer::any(values);
    copy.copy_from_slice(&storage[start..start + values]);
    let layout = Layout::contiguous(x.layout().shape().clone());
    FlexTensor::new(bytes(copy), layout, T::DTYPE)
}

/// The tensor stored pixel by pixel, with nothing else in its storage. It is copied only if it is not
/// stored so already.
pub(super) fn channels_last<T: Carried>(x: FlexTensor) -> FlexTensor {
    let shape: [usize; 4] = x.layout().shape().dims();
    let strides = pixel_strides(shape);
    let mut dimensions = x.layout().strides().iter().zip(&strides).zip(&shape);
    let as_wanted = dimensions.all(|((found, wanted), size)| found == wanted || *size == 1);
    let values: usize = shape.iter().product();
    if as_wanted && x.layout().start_offset() == 0 && T::values(&x).len() == values {
        return x;
    }
    let layout = x.layout().permute(&[0, 2, 3, 1]);
    let rows = whole::<T>(&x.with_layout(layout));
    rows.with_layout(Layout::new(Shape::from(shape.to_vec()), strides, 0))
}
