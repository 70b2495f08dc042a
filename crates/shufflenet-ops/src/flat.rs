//! Many tensors as one, so that a GPU moves all parameters of a network in few launches.
//!
//! [`gather`] puts tensors one behind the other. Each begins at a multiple of [`ALIGNMENT`] values, and zeros fill the
//! gaps. [`split`] takes the parts out again. On a GPU a part is a view: `split` copies nothing, and `gather` copies
//! nothing that `split` made of one tensor. So an elementwise formula costs one launch an operation, whatever the
//! number of tensors.

use burn::tensor::{Device, Tensor};

#[cfg(feature = "gpu")]
use crate::backend::outside as views;

/// Every tensor begins at a multiple of this many values.
pub const ALIGNMENT: usize = 64;

/// Values that a tensor of `len` values takes up.
pub fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

/// Whether parts are views where this tensor is.
pub fn has_views(tensor: &Tensor<1>) -> bool {
    #[cfg(feature = "gpu")]
    return views::serves(tensor);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = tensor;
        false
    }
}

/// The tensors, which are float32 and outside of any graph, one behind the other.
pub fn gather(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    #[cfg(feature = "gpu")]
    if tensors.iter().all(views::serves) && !tensors.is_empty() {
        return views::gather(tensors);
    }
    let device = tensors
        .first()
        .map(Tensor::device)
        .unwrap_or_else(Device::flex);
    let padded = tensors.into_iter().flat_map(|tensor| {
        let len = tensor.dims()[0];
        let gap = Tensor::zeros([padded(len) - len], &device);
        [tensor, gap]
    });
    let parts: Vec<Tensor<1>> = padded.filter(|part| part.dims()[0] > 0).collect();
    match parts.is_empty() {
        true => Tensor::zeros([0], &device),
        false => Tensor::cat(parts, 0),
    }
}

/// The tensors of these sizes that [`gather`] put together.
pub fn split(flat: Tensor<1>, lens: &[usize]) -> Vec<Tensor<1>> {
    #[cfg(feature = "gpu")]
    if views::serves(&flat) {
        return views::split(flat, lens);
    }
    let mut start = 0;
    let part = |&len: &usize| {
        let part = flat.clone().narrow(0, start, len);
        start += padded(len);
        part
    };
    lens.iter().map(part).collect()
}

/// `formula`, which is elementwise, of the tensors that have the same place in the lists. All lists hold tensors of the
/// same sizes.
pub fn elementwise<const N: usize>(
    lists: [Vec<Tensor<1>>; N],
    formula: impl Fn([Tensor<1>; N]) -> Tensor<1>,
) -> Vec<Tensor<1>> {
    let first = lists.first().map(Vec::as_slice).unwrap_or_default();
    let lens: Vec<usize> = first.iter().map(|tensor| tensor.dims()[0]).collect();
    if !lens.is_empty() && lists.iter().flatten().all(has_views) {
        return split(formula(lists.map(gather)), &lens);
    }
    let mut lists = lists.map(Vec::into_iter);
    let next = |_| {
        let tensors: Vec<Tensor<1>> = lists.iter_mut().filter_map(Iterator::next).collect();
        <[Tensor<1>; N]>::try_from(tensors).ok().map(&formula)
    };
    lens.iter().map_while(next).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Int;

    use super::*;

    #[test]
    fn what_is_split_is_what_was_gathered_and_the_gaps_are_zero() {
        let device = Device::flex();
        for lens in [&[1][..], &[64], &[63, 64, 65], &[200, 1, 128, 7]] {
            let tensor =
                |&len: &usize| Tensor::<1, Int>::arange(1..len as i64 + 1, &device).float();
            let tensors: Vec<Tensor<1>> = lens.iter().map(tensor).collect();
            let flat = gather(tensors.clone());
            assert_eq!(
                flat.dims()[0],
                lens.iter().copied().map(padded).sum::<usize>()
            );
            let sum = |tensor: Tensor<1>| tensor.sum().into_scalar::<f32>();
            let all: f32 = tensors.iter().cloned().map(sum).sum();
            assert_eq!(sum(flat.clone()), all);
            for (found, tensor) in split(flat, lens).into_iter().zip(tensors) {
                found.into_data().assert_eq(&tensor.into_data(), true);
            }
        }
    }
}
