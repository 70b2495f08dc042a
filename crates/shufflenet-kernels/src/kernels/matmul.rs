//! Matrix products of a few hundred rows at a time, for the 1x1 convolutions.
//!
//! ```text
//! out[i][j] (+)= sum over k of left[i * left_strides[0] + k * left_strides[1]] * right[k][j]
//! ```
//!
//! An operand is float32, or a *pair* of neighbouring terms in bfloat16, whose two products are added to the sum
//! ([`Operand`]). With strides for the left side, one kernel computes a convolution's forward (`x W'`), its input
//! gradient (`dy W`) and its weight gradient (`x' dy`). A tile of the result stays in registers
//! while `k` runs. The right side is padded to whole vectors, the result is not.

use crate::kernels::operand::Operand;
use crate::kernels::panels::{panel, sized_tile};
use crate::kernels::prefetch::{Ahead, Fetch};
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

/// One matrix product.
pub(crate) struct Matmul<'a, T = f32, O = f32> {
    /// Rows of the result.
    pub rows: usize,
    /// Terms of each sum, or pairs of them.
    pub inner: usize,
    /// Columns of the result.
    pub columns: usize,
    /// The left side.
    pub left: &'a [O],
    /// Operands from one row of the left side to the next, and from one term to the next.
    pub left_strides: [usize; 2],
    /// The right side, `inner` rows of `right_row` operands, whole vectors.
    pub right: &'a [O],
    /// Operands from one row of the right side to the next.
    pub right_row: usize,
    /// The result.
    pub out: &'a mut [T],
    /// Values from one row of the result to the next.
    pub out_row: usize,
    /// Whether to add to `out` instead of overwriting it.
    pub accumulate: bool,
    /// What the next product reads. It is prefetched to the second-level cache meanwhile.
    pub ahead: [Ahead<'a>; 2],
}

/// Rows of a block for `inner` by `columns` weights. If the weights are narrow, the block's two sides fit
/// a first-level cache of 48 KiB. If they are wide, adding to the weights' gradient once per block stays a
/// small part of computing it.
pub(crate) fn block_rows(inner: usize, columns: usize) -> usize {
    (8_192 / inner.max(columns) / 24 * 24).clamp(96, 240)
}

/// Position of a tile, and the length of its sums.
struct Tile<T, O> {
    inner: usize,
    left: *const O,
    left_strides: [usize; 2],
    right: *const O,
    right_row: usize,
    out: *mut T,
    out_row: usize,
    /// Columns from the tile's first to the end of the result.
    columns: usize,
    accumulate: bool,
}

impl<T, O: Operand> Tile<T, O> {
    #[inline(always)]
    fn multiply_add<S: Simd>(&self, s: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        O::multiply_add(s, a, b, c)
    }
}

impl<T: Stored, O: Operand> Kernel for Matmul<'_, T, O> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let vectors = self.columns.div_ceil(S::LANES);
        assert!(self.inner > 0, "a product has terms");
        let [row, term] = self.left_strides;
        assert!(self.left.len() > (self.rows - 1) * row + (self.inner - 1) * term);
        assert!(self.right.len() >= (self.inner - 1) * self.right_row + vectors * S::LANES);
        assert!(self.out.len() >= (self.rows - 1) * self.out_row + self.columns);
        let mut ahead = self
            .ahead
            .map(|ahead| Fetch::new(ahead, self.tiles::<S>(vectors)));
        let mut first = 0;
        while first < vectors {
            let width = panel(S::TILE_ROWS, vectors - first);
            let height = S::TILE_ROWS[4 - width];
            let column = first * S::LANES;
            let mut i = 0;
            while i < self.rows {
                let count = height.min(self.rows - i);
                ahead[0].fetch(s);
                ahead[1].fetch(s);
                // SAFETY: rows from `i` and columns from `column` on are within what was asserted above;
                // a tile reads whole vectors of the right side and writes only the result's columns.
                unsafe {
                    let at = Tile {
                        inner: self.inner,
                        left: self.left.as_ptr().add(i * row),
                        left_strides: self.left_strides,
                        right: self.right.as_ptr().add(column),
                        right_row: self.right_row,
                        out: self.out.as_mut_ptr().add(i * self.out_row + column),
                        out_row: self.out_row,
                        columns: self.columns - column,
                        accumulate: self.accumulate,
                    };
                    sized_tile!(tile::<S>(s, &at), width, count);
                }
                i += count;
            }
            first += width;
        }
    }
}

impl<T, O> Matmul<'_, T, O> {
    /// Number of tiles of the result.
    #[inline(always)]
    fn tiles<S: Simd>(&self, vectors: usize) -> usize {
        let (mut first, mut tiles) = (0, 0);
        while first < vectors {
            let width = panel(S::TILE_ROWS, vectors - first);
            tiles += self.rows.div_ceil(S::TILE_ROWS[4 - width]);
            first += width;
        }
        tiles
    }
}

/// # Safety
/// `ROWS` rows and `WIDTH` vectors from `at` on are readable on the right side, and
/// `min(at.columns, WIDTH vectors)` columns writable in the result.
#[expect(
    clippy::needless_range_loop,
    reason = "constant bounds, unrolled over registers"
)]
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const WIDTH: usize>(
    s: S,
    at: &Tile<impl Stored, impl Operand>,
) {
    let [row, term] = at.left_strides;
    // SAFETY of all accesses: the caller's promise, see above.
    unsafe {
        let mut sums = [[s.splat(0.0); WIDTH]; ROWS];
        for i in 0..ROWS {
            for j in 0..WIDTH {
                s.prefetch(at.out.wrapping_add(i * at.out_row + j * S::LANES).cast());
            }
        }
        let (mut left, mut right) = (at.left, at.right);
        for _ in 0..at.inner {
            let mut b = [s.splat(0.0); WIDTH];
            for j in 0..WIDTH {
                b[j] = s.load(right.add(j * S::LANES).cast());
            }
            for i in 0..ROWS {
                let a = s.splat(f32::from_bits((*left.add(i * row)).bits()));
                for j in 0..WIDTH {
                    sums[i][j] = at.multiply_add(s, a, b[j], sums[i][j]);
                }
            }
            left = left.wrapping_add(term);
            right = right.wrapping_add(at.right_row);
        }
        for i in 0..ROWS {
            for j in 0..WIDTH {
                let n = at.columns - j * S::LANES;
                let out = at.out.add(i * at.out_row + j * S::LANES);
                let mut sum = sums[i][j];
                if at.accumulate {
                    sum = s.add(sum, Stored::load_first(s, out.cast_const(), n));
                }
                Stored::store_first(s, out, n, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;
    use crate::testing::numbers;

    /// Checks both stride orders of the left side, all tile heights and widths, and every instruction set.
    #[test]
    fn it_is_the_sum_of_products() {
        for isa in Isa::available() {
            for (rows, inner, columns) in [
                (1, 1, 1),
                (23, 5, 58),
                (15, 24, 24),
                (29, 58, 116),
                (7, 3, 130),
            ] {
                for transposed in [false, true] {
                    for accumulate in [false, true] {
                        check(isa, [rows, inner, columns], transposed, accumulate);
                    }
                }
            }
        }
    }

    fn check(isa: Isa, [rows, inner, columns]: [usize; 3], transposed: bool, accumulate: bool) {
        let left_strides = if transposed {
            [1, rows + 1]
        } else {
            [inner + 2, 1]
        };
        let left = numbers((rows + 2) * (inner + 2), 1);
        let right_row = isa.padded(columns);
        let right = numbers(inner * right_row, 2);
        let out_row = columns + 3;
        let before = numbers(rows * out_row, 3);
        let mut out = before.clone();
        let (left, right) = (&left[..], &right[..]);
        isa.run(Matmul {
            rows,
            inner,
            columns,
            left,
            left_strides,
            right,
            right_row,
            out: &mut out,
            out_row,
            accumulate,
            ahead: [Ahead::of(left), Ahead::default()],
        });
        for i in 0..rows {
            for j in 0..out_row {
                let at = i * out_row + j;
                let mut expected = f64::from(before[at]);
                if j < columns {
                    let term = |k: usize| {
                        let a = left[i * left_strides[0] + k * left_strides[1]];
                        f64::from(a) * f64::from(right[k * right_row + j])
                    };
                    let sum: f64 = (0..inner).map(term).sum();
                    expected = if accumulate { expected + sum } else { sum };
                }
                let error = (f64::from(out[at]) - expected).abs();
                assert!(
                    error < 1e-5,
                    "{isa:?} {rows}x{inner}x{columns} at {i},{j}: {error}"
                );
            }
        }
    }
}
