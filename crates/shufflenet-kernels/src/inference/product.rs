//! The matrix product of inference: 1x1 convolutions, the stem's 3x3 ones, the classifier.
//!
//! ```text
//! out[i][j] = activation(bias[j] + sum over k of left[i * left_row + terms[k]] * weight[k][j])
//! ```
//!
//! `terms` has the positions of a sum's terms: the columns that a unit reads, or the nine positions of a window. A term
//! is a float32, or two neighbours in bfloat16 ([`Operand`]); a neighbour that is not read has the weight zero.

use std::ops::Range;

use super::place::Place;
use super::weights::{Panel, Weights};
use crate::kernels::operand::Operand;
use crate::kernels::panels::sized_tile;
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

/// One matrix product.
pub(super) struct Product<'a, T, O: Operand = f32> {
    pub rows: usize,
    pub left: &'a [O],
    /// Operands from one row of the left side to the next.
    pub left_row: usize,
    /// Positions of the left side's terms in a row, in ascending order.
    pub terms: &'a [u32],
    pub weights: &'a Weights<O>,
    /// The panels to compute.
    pub panels: Range<usize>,
    /// Whether to apply a ReLU.
    pub relu: bool,
    /// The result's storage, from position `out_start` of `place` on.
    pub out: &'a mut [T],
    pub out_start: usize,
    /// Positions of the result's rows, from row `first` on; whole vectors are written.
    pub place: Place,
    pub first: usize,
}

/// Rows and vectors of a result that are computed together.
struct Tile<'a, T, O> {
    left: *const O,
    left_row: usize,
    terms: &'a [u32],
    right: *const f32,
    bias: *const f32,
    relu: bool,
    /// Destination of each row of the result.
    out: [*mut T; MOST_ROWS],
}

const MOST_ROWS: usize = 14;

impl<T, O: Operand> Tile<'_, T, O> {
    #[inline(always)]
    fn multiply_add<S: Simd>(&self, s: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        O::multiply_add(s, a, b, c)
    }
}

impl<T: Stored, O: Operand> Kernel for Product<'_, T, O> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (rows, weights, lanes) = (self.rows, self.weights, S::LANES);
        let panels = &weights.panels[self.panels.clone()];
        let (Some(last), Some(reach), 1..) = (panels.last(), self.terms.last(), rows) else {
            return;
        };
        assert!(weights.lanes == lanes && self.terms.len() == weights.terms.len());
        assert!(self.terms.is_sorted());
        assert!(self.left.len() > (rows - 1) * self.left_row + *reach as usize);
        // The panels' columns are counted from the first panel's in the result.
        let column = |panel: &Panel| (panel.first - panels[0].first) * lanes;
        let end = self.place.at(self.first + rows - 1) + column(last) + last.width * lanes;
        assert!(self.place.at(self.first) >= self.out_start);
        assert!(end - self.out_start <= self.out.len());
        for panel in panels {
            let height = S::TILE_ROWS[4 - panel.width];
            let mut i = 0;
            let mut places = self.place.from(self.first);
            while i < rows {
                let count = height.min(rows - i);
                let mut out = [std::ptr::null_mut::<T>(); MOST_ROWS];
                // SAFETY: positions grow with the row, so all rows are before the end of the last one,
                // which was asserted; the left side's length was asserted too; a panel has `width`
                // vectors of operands, 32 bits each, for each term, and the bias has whole vectors for all panels.
                unsafe {
                    for out in out.iter_mut().take(count) {
                        let at = places.step() - self.out_start;
                        *out = self.out.as_mut_ptr().add(at + column(panel));
                    }
                    let at = Tile {
                        left: self.left.as_ptr().add(i * self.left_row),
                        left_row: self.left_row,
                        terms: self.terms,
                        right: weights.values.as_ptr().cast::<f32>().add(panel.start),
                        bias: weights.bias.as_ptr().add(panel.first * lanes),
                        relu: self.relu,
                        out,
                    };
                    sized_tile!(tile::<S>(s, &at), panel.width, count);
                }
                i += count;
            }
        }
    }
}

/// # Safety
/// Readable: `ROWS` rows on the left at every term, `WIDTH` vectors per term on the right, `WIDTH`
/// vectors of the bias. Writable: `WIDTH` vectors at each of the first `ROWS` destinations.
#[expect(
    clippy::needless_range_loop,
    reason = "constant bounds, unrolled over registers"
)]
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const WIDTH: usize>(
    s: S,
    at: &Tile<impl Stored, impl Operand>,
) {
    // SAFETY of all accesses: the caller's promise.
    unsafe {
        let mut sums = [[s.splat(0.0); WIDTH]; ROWS];
        for j in 0..WIDTH {
            let bias = s.load(at.bias.add(j * S::LANES));
            for i in 0..ROWS {
                sums[i][j] = bias;
            }
        }
        let mut right = at.right;
        for &term in at.terms {
            let left = at.left.add(term as usize);
            let mut b = [s.splat(0.0); WIDTH];
            for j in 0..WIDTH {
                b[j] = s.load(right.add(j * S::LANES));
            }
            for i in 0..ROWS {
                let a = s.splat(f32::from_bits((*left.add(i * at.left_row)).bits()));
                for j in 0..WIDTH {
                    sums[i][j] = at.multiply_add(s, a, b[j], sums[i][j]);
                }
            }
            right = right.add(WIDTH * S::LANES);
        }
        for i in 0..ROWS {
            for j in 0..WIDTH {
                let mut sum = sums[i][j];
                if at.relu {
                    // With this order of arguments NaN stays NaN.
                    sum = s.max(s.splat(0.0), sum);
                }
                Stored::store_first(s, at.out[i].add(j * S::LANES), S::LANES, sum);
            }
        }
    }
}
