//! Weights packed for the kernels. They are packed in every step: they are small and change each time.

use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::Isa;

/// One convolution and the batch norm after it, in PyTorch's layout.
#[derive(Clone, Copy)]
pub struct ConvNorm<'a> {
    /// `[outputs][inputs]` for a 1x1 convolution, `[channels][9]` for a depthwise one,
    /// `[outputs][inputs][9]` for a dense 3x3 one.
    pub weight: &'a [f32],
    /// The norm's weight of each output.
    pub gamma: &'a [f32],
    /// The norm's bias of each output.
    pub beta: &'a [f32],
}

impl ConvNorm<'_> {
    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.gamma.len()
    }

    /// Number of terms in each output's sum.
    pub fn inputs(&self) -> usize {
        self.weight.len() / self.gamma.len()
    }
}

/// Values that are worth one item of a parallel loop.
const WORTH_SHARING: usize = 4096;

/// Rows of `row` values that a thread takes at once.
fn rows_at_once(row: usize) -> usize {
    WORTH_SHARING.div_ceil(row)
}

/// Transposes `[n][k]` to `[k][n]` with rows padded to whole vectors, and multiplies row `k` by `scale[k]`
/// if `scale` is given. The result is the right side of a forward product.
pub(crate) fn transposed(isa: Isa, weight: &[f32], k: usize, scale: Option<&[f32]>) -> Buffer {
    let n = weight.len() / k;
    let row = isa.padded(n);
    let mut packed = Buffer::any(k * row);
    let rows = rows_at_once(row);
    team::map(packed.chunks_mut(rows * row), |block, packed| {
        for (i, packed) in packed.chunks_exact_mut(row).enumerate() {
            let i = block * rows + i;
            let factor = scale.map_or(1.0, |scale| scale[i]);
            let column = weight[i..].iter().step_by(k);
            packed
                .iter_mut()
                .zip(column)
                .for_each(|(packed, w)| *packed = factor * w);
            packed[n..].fill(0.0);
        }
    });
    packed
}

/// Pads the rows of `[n][k]` to whole vectors. The result is the right side of an input gradient's product.
pub(crate) fn padded(isa: Isa, weight: &[f32], k: usize) -> Buffer {
    let row = isa.padded(k);
    let mut packed = Buffer::any(weight.len() / k * row);
    for (packed, weight) in packed.chunks_exact_mut(row).zip(weight.chunks_exact(k)) {
        packed[..k].copy_from_slice(weight);
        packed[k..].fill(0.0);
    }
    packed
}

/// Transposes `[channels][9]` to `[9][channels]`, padded to whole vectors, for the depthwise kernels.
pub(crate) fn taps(isa: Isa, weight: &[f32]) -> Buffer {
    transposed(isa, weight, 9, None)
}

/// Multiplies column `k` of `[n][k]` by `scale[k]`.
pub(crate) fn scale_columns(weight: &mut [f32], scale: &[f32], k: usize) {
    for row in weight.chunks_exact_mut(k) {
        row.iter_mut().zip(scale).for_each(|(w, scale)| *w *= scale);
    }
}

/// Adds up the parts, each `[k][n]` with padded rows, in their order, and returns the sum in Burn's layout,
/// `[n][k]`.
pub(crate) fn summed(parts: &[Buffer], k: usize, n: usize) -> Buffer {
    let Some((first, rest)) = parts.split_first() else {
        return Buffer::zeros(n * k);
    };
    let row = first.len() / k;
    let mut total = Buffer::any(first.len());
    team::map(total.chunks_mut(WORTH_SHARING), |block, total| {
        let here = block * WORTH_SHARING..block * WORTH_SHARING + total.len();
        total.copy_from_slice(&first[here.clone()]);
        for part in rest {
            let terms = total.iter_mut().zip(&part[here.clone()]);
            terms.for_each(|(total, x)| *total += x);
        }
    });
    let mut sum = Buffer::any(n * k);
    let rows = rows_at_once(k);
    team::map(sum.chunks_mut(rows * k), |block, sum| {
        for (j, sum) in sum.chunks_exact_mut(k).enumerate() {
            let column = total[block * rows + j..].iter().step_by(row);
            sum.iter_mut().zip(column).for_each(|(sum, x)| *sum = *x);
        }
    });
    sum
}
