//! Products of the iterations' matrices: in vectors of float32, in vectors of pairs of bfloat16, or in tiles of bfloat16
//! ([`Products`]). The sums are float32, and so are the matrices between products.

use half::bf16;

use super::Matrix;
use crate::kernels::matmul::Matmul;
use crate::kernels::operand::Operand;
use crate::kernels::pairs::{PairedRows, RowPairs, pairs, row_pairs_len};
use crate::kernels::prefetch::Ahead;
use crate::kernels::rows::Rows;
use crate::kernels::tiles::{self, ByColumns, ByRows, configured, packed_len};
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::{Isa, Products};

/// Rows of a result that are computed together in vectors.
const BLOCK: usize = 24;

/// `left right`, or `left' right`.
pub(super) struct Product<'a> {
    left: &'a Matrix,
    transposed: bool,
    right: &'a Matrix,
    /// Whether the result is symmetric. Then each block of rows is computed from the diagonal on; the rest is copied from
    /// the other side of the diagonal.
    symmetric: bool,
}

impl<'a> Product<'a> {
    /// The product with a square matrix.
    pub fn new(left: &'a Matrix, right: &'a Matrix) -> Self {
        Self {
            left,
            transposed: false,
            right,
            symmetric: false,
        }
    }

    /// The product of symmetric matrices that commute, which is symmetric.
    pub fn commuting(left: &'a Matrix, right: &'a Matrix) -> Self {
        Self {
            symmetric: true,
            ..Self::new(left, right)
        }
    }

    /// `y' y`
    pub fn gram(y: &'a Matrix) -> Self {
        Self {
            transposed: true,
            ..Self::commuting(y, y)
        }
    }

    pub fn run(&self, isa: Isa, products: Products) -> Matrix {
        match products {
            Products::Widened => {
                let strides = match self.transposed {
                    true => [1, self.left.row],
                    false => [self.left.row, 1],
                };
                self.by_vectors(isa, (&self.left.values, strides), &self.right.values)
            }
            Products::Pairs => {
                let right = row_pairs(isa, self.right);
                let right = pairs(&right);
                if self.transposed {
                    let left = row_pairs(isa, self.left);
                    let strides = [1, isa.padded(self.left.columns)];
                    return self.by_vectors(isa, (pairs(&left), strides), right);
                }
                let mut rounded = PairedRows::new(isa, self.left.columns);
                let (left, stride) = rounded.read(self.left.as_rows(), self.left.rows());
                self.by_vectors(isa, (left, [stride, 1]), right)
            }
            Products::Tiles => self.by_tiles(isa),
        }
    }

    /// Rows of the result.
    fn rows(&self) -> usize {
        match self.transposed {
            true => self.left.columns,
            false => self.left.rows(),
        }
    }

    /// The first column that is computed of the rows from `row` on, a multiple of `whole`.
    fn first_column(&self, row: usize, whole: usize) -> usize {
        match self.symmetric {
            true => row / whole * whole,
            false => 0,
        }
    }

    /// `left` has operands and their strides ([`Matmul`]).
    fn by_vectors<O: Operand + Sync>(
        &self,
        isa: Isa,
        (left, strides): (&[O], [usize; 2]),
        right: &[O],
    ) -> Matrix {
        let columns = self.right.columns;
        let mut out = Matrix::zeros(isa, self.rows(), columns);
        let row = out.row;
        team::map(out.values.chunks_mut(BLOCK * row), |block, values| {
            let first = block * BLOCK;
            let column = self.first_column(first, isa.lanes());
            isa.run(Matmul {
                rows: values.len() / row,
                inner: right.len() / row,
                columns: columns - column,
                left: &left[first * strides[0]..],
                left_strides: strides,
                right: &right[column..],
                right_row: row,
                out: &mut values[column..],
                out_row: row,
                accumulate: false,
                ahead: Ahead::NONE,
            });
        });
        self.mirrored(out, BLOCK, isa.lanes())
    }

    fn by_tiles(&self, isa: Isa) -> Matrix {
        let (rows, columns, inner) = (self.rows(), self.right.columns, self.right.rows());
        let left = match self.transposed {
            true => by_columns(isa, self.left, true),
            false => by_rows(isa, self.left),
        };
        let right = by_columns(isa, self.right, false);
        // Values of a row of the left side, or of a column of the right side.
        let line = packed_len(tiles::BLOCK, inner) / tiles::BLOCK;
        let mut out = Matrix::zeros(isa, rows, columns);
        let row = out.row;
        team::map(
            out.values.chunks_mut(tiles::BLOCK * row),
            |block, values| {
                let first = block * tiles::BLOCK;
                let column = self.first_column(first, tiles::BLOCK);
                let rows = values.len() / row;
                let product = tiles::Product {
                    rows,
                    inner,
                    columns: columns - column,
                    left: &left[first * line..][..packed_len(rows, inner)],
                    right: &right[column * line..],
                    out: &mut values[column..],
                    out_row: row,
                    accumulate: false,
                };
                product.run(isa, &configured());
            },
        );
        self.mirrored(out, tiles::BLOCK, tiles::BLOCK)
    }

    /// Copies what is left of the blocks' first columns from the other side of the diagonal.
    fn mirrored(&self, mut out: Matrix, block: usize, whole: usize) -> Matrix {
        let (n, row) = (out.columns, out.row);
        for first in (block..n).step_by(block).take_while(|_| self.symmetric) {
            let (above, below) = out.values.split_at_mut(first * row);
            let columns = above.chunks_exact(row);
            for (j, column) in columns.take(self.first_column(first, whole)).enumerate() {
                let rows = below.chunks_exact_mut(row).take(block);
                for (to, value) in rows.zip(&column[first..n]) {
                    to[j] = *value;
                }
            }
        }
        out
    }
}

impl Matrix {
    fn as_rows(&self) -> Rows<'_> {
        Rows::new(&self.values, self.row)
    }
}

fn row_pairs(isa: Isa, x: &Matrix) -> Buffer<bf16> {
    let mut out = Buffer::any(row_pairs_len(isa, x.rows(), x.columns));
    isa.run(RowPairs {
        rows: x.rows(),
        columns: x.columns,
        x: x.as_rows(),
        out: &mut out,
    });
    out
}

fn by_rows(isa: Isa, x: &Matrix) -> Buffer<bf16> {
    let mut out = Buffer::any(packed_len(x.rows(), x.columns));
    isa.run(ByRows {
        rows: x.rows(),
        columns: x.columns,
        x: x.as_rows(),
        transposed: false,
        out: &mut out,
    });
    out
}

fn by_columns(isa: Isa, x: &Matrix, transposed: bool) -> Buffer<bf16> {
    let mut out = Buffer::any(packed_len(x.columns, x.rows()));
    isa.run(ByColumns {
        rows: x.rows(),
        columns: x.columns,
        x: x.as_rows(),
        transposed,
        out: &mut out,
    });
    out
}
