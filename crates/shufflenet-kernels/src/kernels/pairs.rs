//! Operands of products of bfloat16 in pairs, `out (+)= left right` with two terms of a sum in 32 bits
//! ([`crate::kernels::operand::Pair`]).
//!
//! A pair has to be two neighbouring terms. On the left they are neighbours in a row, so stored rows are read where
//! they are. On the right they are two rows, and so they are on the left of a product with a transposed matrix.
//! [`RowPairs`] interleaves such rows:
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

use half::bf16;

use crate::kernels::operand::Pair;
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

/// Rows whose pairs a product reads: where they are, or as a rounded copy, if they are float32, or have an odd number of
/// values or an odd stride.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::matmul::Matmul;
    use crate::kernels::prefetch::Ahead;
    use crate::testing::numbers;

    fn rounded(x: f32) -> f32 {
        bf16::from_f32(x).widened()
    }

    fn stored(values: &[f32]) -> Vec<bf16> {
        values.iter().map(|x| bf16::from_f32(*x)).collect()
    }

    /// Whole vectors, tails, an odd number of rows or of columns, one value.
    const SIZES: [[usize; 2]; 5] = [[8, 32], [7, 58], [12, 24], [33, 17], [1, 1]];

    #[test]
    fn rows_are_interleaved_and_padded_with_zeros() {
        for isa in Isa::available() {
            for [rows, columns] in SIZES {
                let stride = columns + 3;
                let mut x = numbers(rows * stride, 1);
                for row in x.chunks_exact_mut(stride) {
                    row[columns..].fill(f32::NAN);
                }
                let mut out = [0, 1].map(|_| vec![bf16::NAN; row_pairs_len(isa, rows, columns)]);
                let [wide, narrow] = &mut out;
                isa.run(RowPairs {
                    rows,
                    columns,
                    x: Rows::new(&x, stride),
                    out: wide,
                });
                isa.run(RowPairs {
                    rows,
                    columns,
                    x: Rows::new(&stored(&x), stride),
                    out: narrow,
                });
                for out in &out {
                    for (at, found) in out.iter().enumerate() {
                        let pair = at / 2;
                        let (row, column) = (
                            pair / isa.padded(columns) * 2 + at % 2,
                            pair % isa.padded(columns),
                        );
                        let expected = match row < rows && column < columns {
                            true => rounded(x[row * stride + column]),
                            false => 0.0,
                        };
                        assert_eq!(
                            found.widened(),
                            expected,
                            "{isa:?} {rows}x{columns} {row},{column}"
                        );
                    }
                }
            }
        }
    }

    /// Stored rows of each kind times row pairs, and row pairs read by columns, against float64 on rounded operands.
    #[test]
    fn a_product_of_pairs_is_the_sum_of_products() {
        for isa in Isa::available() {
            for ([rows, inner], columns) in SIZES.into_iter().zip([24, 58, 116, 5, 1]) {
                for gap in [2, 3] {
                    let stride = inner + gap;
                    let x = numbers(rows * stride, 1);
                    let sizes = [rows, inner, columns];
                    check(isa, Rows::new(&x, stride), &x, sizes);
                    check(isa, Rows::new(&stored(&x), stride), &x, sizes);
                }
            }
        }
    }

    fn check<T: Stored>(isa: Isa, x: Rows<T>, wide: &[f32], [rows, inner, columns]: [usize; 3]) {
        let w = numbers(inner * columns, 2);
        let row_pairs = |x: Rows<f32>, [rows, columns]: [usize; 2]| {
            let mut out = vec![bf16::NAN; row_pairs_len(isa, rows, columns)];
            isa.run(RowPairs {
                rows,
                columns,
                x,
                out: &mut out,
            });
            out
        };
        let right = row_pairs(Rows::new(&w, columns), [inner, columns]);
        let transposed: Vec<f32> = (0..inner * rows)
            .map(|at| wide[at % rows * x.stride + at / rows])
            .collect();
        let by_columns = row_pairs(Rows::new(&transposed, rows), [inner, rows]);
        let mut paired = PairedRows::new(isa, inner);
        let (by_rows, stride) = paired.read(x, rows);
        let sides = [
            (by_rows, [stride, 1]),
            (pairs(&by_columns), [1, isa.padded(rows)]),
        ];
        for (left, left_strides) in sides {
            let mut out = vec![0.0; rows * columns];
            isa.run(Matmul {
                rows,
                inner: inner.div_ceil(2),
                columns,
                left,
                left_strides,
                right: pairs(&right),
                right_row: isa.padded(columns),
                out: &mut out,
                out_row: columns,
                accumulate: false,
                ahead: Ahead::NONE,
            });
            for (at, found) in out.iter().enumerate() {
                let (row, column) = (at / columns, at % columns);
                let term = |k: usize| {
                    let (x, w) = (wide[row * x.stride + k], w[k * columns + column]);
                    f64::from(rounded(x)) * f64::from(rounded(w))
                };
                let expected: f64 = (0..inner).map(term).sum();
                let error = (f64::from(*found) - expected).abs();
                assert!(error < 1e-5, "{isa:?} {rows}x{inner}x{columns}: {error}");
            }
        }
    }
}
