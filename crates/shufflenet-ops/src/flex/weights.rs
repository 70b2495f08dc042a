//! Weights as the kernels read them, packed anew at each step: they are small, and change each time.

use rayon::prelude::*;

use super::pool::Buffer;
use super::simd::Isa;

/// One convolution with the batch norm after it, as Burn holds them.
#[derive(Clone, Copy)]
pub(crate) struct ConvNorm<'a> {
    /// `[outputs][inputs]` for a 1x1 convolution, `[channels][9]` for a depthwise one,
    /// `[outputs][inputs][9]` for a dense 3x3 one.
    pub weight: &'a [f32],
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
}

impl ConvNorm<'_> {
    /// Channels that come out.
    pub fn outputs(&self) -> usize {
        self.gamma.len()
    }

    /// Terms of each output's sum.
    pub fn inputs(&self) -> usize {
        self.weight.len() / self.gamma.len()
    }
}

/// Values that one thread packs faster than two.
const MOST_SERIAL: usize = 16_384;

/// `[n][k]` to `[k][n]`, the rows padded to whole vectors; row `k` times `scale[k]`, where given.
/// The right side of a forward product.
pub(crate) fn transposed(isa: Isa, weight: &[f32], k: usize, scale: Option<&[f32]>) -> Buffer {
    let n = weight.len() / k;
    let row = isa.padded(n);
    let mut packed = Buffer::any(k * row);
    let fill = |(i, packed): (usize, &mut [f32])| {
        let factor = scale.map_or(1.0, |scale| scale[i]);
        let column = weight[i..].iter().step_by(k);
        packed
            .iter_mut()
            .zip(column)
            .for_each(|(packed, w)| *packed = factor * w);
        packed[n..].fill(0.0);
    };
    // Rows a thread takes at once: fewer would not be worth waking it.
    let rows = (MOST_SERIAL / row).max(1);
    packed
        .par_chunks_exact_mut(row)
        .enumerate()
        .with_min_len(rows)
        .for_each(fill);
    packed
}

/// `[n][k]` with its rows padded to whole vectors. The right side of an input gradient's product.
pub(crate) fn padded(isa: Isa, weight: &[f32], k: usize) -> Buffer {
    let row = isa.padded(k);
    let mut packed = Buffer::any(weight.len() / k * row);
    for (packed, weight) in packed.chunks_exact_mut(row).zip(weight.chunks_exact(k)) {
        packed[..k].copy_from_slice(weight);
        packed[k..].fill(0.0);
    }
    packed
}

/// `[channels][9]` to `[9][channels]`, padded to whole vectors: what the depthwise kernels read.
pub(crate) fn taps(isa: Isa, weight: &[f32]) -> Buffer {
    transposed(isa, weight, 9, None)
}

/// The sum of the parts' `[k][n]`, rows padded, in their order, as Burn has it: `[n][k]`. Column `k`
/// times `scale[k]`, where given.
pub(crate) fn summed(parts: &[Buffer], k: usize, n: usize, scale: Option<&[f32]>) -> Buffer {
    let Some((first, rest)) = parts.split_first() else {
        return Buffer::zeros(n * k);
    };
    let row = first.len() / k;
    let mut total = Buffer::any(first.len());
    total.copy_from_slice(first);
    for part in rest {
        total
            .iter_mut()
            .zip(part.iter())
            .for_each(|(total, x)| *total += x);
    }
    let mut sum = Buffer::any(n * k);
    for (i, total) in total.chunks_exact(row).enumerate() {
        let factor = scale.map_or(1.0, |scale| scale[i]);
        for (j, x) in total[..n].iter().enumerate() {
            sum[j * k + i] = factor * x;
        }
    }
    sum
}
