//! Operands of products of bfloat16 in pairs, `out (+)= left right` with two terms of a sum in 32 bits
//! ([`crate::kernels::matmul::Pair`]).
//!
//! A pair has to be two neighbouring terms. On the left they are neighbours in a row, so stored rows are read where they are.
//! On the right they are two rows, and so they are on the left of a product with a transposed matrix. [`RowPairs`]
//! interleaves such rows:
//!
//! ```text
//! out[p][c] = (x[2 p][c], x[2 p + 1][c])
//! ```
//!
//! | product | left | right |
//! |---|---|---|
//! | forward, `x W'` | rows of `x` | row pairs of `W'` |
//! | input gradient, `dy W` | rows of `dy` | row pairs of `W` |
//! | weight gradient, `x' dy` | row pairs of `x`, read by columns | row pairs of `dy` |

use burn_std::bf16;

use crate::kernels::matmul::Pair;
use crate::kernels::rows::{Copy, Rows};
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Simd};

/// Values of the row pairs of a matrix.
pub(crate) fn row_pairs_len(isa: Isa, rows: usize, columns: usize) -> usize {
    rows.next_multiple_of(2) * isa.padded(columns)
}

/// Values as pairs. Their number is even.
pub(crate) fn pairs(values: &[bf16]) -> &[Pair] {
    values.as_chunks().0
}

/// Interleaves neighbouring rows, in bfloat16. What a matrix lacks of a last pair or of whole vectors is zero.
pub(crate) struct RowPairs<'a, T> {
    pub rows: usize,
    pub columns: usize,
    pub x: Rows<'a, T>,
    pub out: &'a mut [bf16],
}

impl<T: Stored> Kernel for RowPairs<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, columns, .. } = self;
        let padded = columns.next_multiple_of(S::LANES);
        self.x.check(rows, columns);
        assert_eq!(self.out.len(), rows.next_multiple_of(2) * padded);
        for row in (0..rows).step_by(2) {
            for column in (0..columns).step_by(S::LANES) {
                let n = columns - column;
                // SAFETY: rows and columns are within what was checked; the last vector is cut to `n`. The result has whole
                // vectors of pairs.
                unsafe {
                    let upper = self.x.data.as_ptr().add(row * self.x.stride + column);
                    let lower = match row + 1 < rows {
                        true => T::load_first(s, upper.add(self.x.stride), n),
                        false => s.splat(0.0),
                    };
                    let pairs = T::bf16_pairs(s, T::load_first(s, upper, n), lower);
                    let to = self.out.as_mut_ptr().add(row * padded + 2 * column);
                    s.store(to.cast(), pairs);
                }
            }
        }
    }
}

/// Rows whose pairs a product reads: where they are, or as a rounded copy, if they are float32, have an odd number of
/// values, or start within pairs.
pub(crate) struct PairedRows {
    isa: Isa,
    columns: usize,
    copy: Buffer<bf16>,
}

impl PairedRows {
    /// For rows of `columns` values.
    pub fn new(isa: Isa, columns: usize) -> Self {
        let copy = Buffer::any(0);
        Self { isa, columns, copy }
    }

    /// The pairs of the first `rows` rows of `x`, and the number of pairs from row to row.
    pub fn read<'a, T: Stored>(&'a mut self, x: Rows<'a, T>, rows: usize) -> (&'a [Pair], usize) {
        if let Some(values) = T::as_bf16(x.data)
            && self.columns.is_multiple_of(2)
            && x.stride.is_multiple_of(2)
        {
            return (pairs(values), x.stride / 2);
        }
        let stride = self.isa.padded(self.columns);
        if self.copy.len() < rows * stride {
            self.copy = Buffer::zeros(rows * stride);
        }
        self.isa.run(Copy {
            rows,
            columns: self.columns,
            x,
            out: &mut self.copy,
            out_stride: stride,
        });
        (pairs(&self.copy), stride / 2)
    }
}
