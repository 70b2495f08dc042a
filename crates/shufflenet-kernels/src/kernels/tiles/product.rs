//! Products of operands in tile order ([`super`]), block by block, and their results as rows.

use half::bf16;

use super::{BLOCK, BLOCK_VALUES, SIDE, TERMS, blocks_len, packed_len};
use crate::simd::amx::Tiles;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Simd};

/// A block of a result, aligned to cache lines.
#[repr(align(64))]
struct Block([f32; BLOCK_VALUES]);

/// A product whose result becomes rows.
pub(crate) struct Product<'a, T> {
    pub rows: usize,
    /// Terms of each sum.
    pub inner: usize,
    pub columns: usize,
    /// The left side in tile order.
    pub left: &'a [bf16],
    /// The right side in tile order.
    pub right: &'a [bf16],
    /// The result.
    pub out: &'a mut [T],
    /// Values from one row of the result to the next.
    pub out_row: usize,
    /// Whether to add to `out` instead of overwriting it.
    pub accumulate: bool,
}

impl<T: Stored> Product<'_, T> {
    pub fn run(self, isa: Isa, tiles: &Tiles) {
        let (rows, columns) = (self.rows, self.columns);
        let sizes = [rows, self.inner, columns];
        each_block(
            tiles,
            sizes,
            [self.left, self.right],
            |row, column, block| {
                isa.run(BlockToRows {
                    rows: BLOCK.min(rows - row),
                    columns: BLOCK.min(columns - column),
                    block,
                    out: &mut self.out[row * self.out_row + column..],
                    out_row: self.out_row,
                    accumulate: self.accumulate,
                });
            },
        );
    }
}

/// Calls `with(row, column, block)` for every block of the product of `rows` rows and `columns` columns, each of `inner`
/// terms; the block starts at that row and column.
pub(crate) fn each_block(
    tiles: &Tiles,
    [rows, inner, columns]: [usize; 3],
    [left, right]: [&[bf16]; 2],
    mut with: impl FnMut(usize, usize, &[f32]),
) {
    assert_eq!(left.len(), packed_len(rows, inner));
    assert_eq!(right.len(), packed_len(columns, inner));
    let mut block = Block([0.0; BLOCK_VALUES]);
    for column in (0..columns).step_by(BLOCK) {
        let right = two_lines(right, column, inner);
        for row in (0..rows).step_by(BLOCK) {
            let left = two_lines(left, row, inner);
            tiles.multiply(left, right, &mut block.0, false);
            with(row, column, &block.0);
        }
    }
}

/// The two lines that start with row (or column) `first` of an operand.
fn two_lines(operand: &[bf16], first: usize, terms: usize) -> [&[bf16]; 2] {
    let line = SIDE * terms.next_multiple_of(TERMS);
    let (lower, upper) = operand[first / SIDE * line..][..2 * line].split_at(line);
    [lower, upper]
}

/// Adds `left right` to `sums`, blocks of a matrix of `rows` rows and `columns` columns, row by row of blocks.
pub(crate) fn add_product(
    tiles: &Tiles,
    [rows, inner, columns]: [usize; 3],
    [left, right]: [&[bf16]; 2],
    sums: &mut [f32],
) {
    assert_eq!(left.len(), packed_len(rows, inner));
    assert_eq!(right.len(), packed_len(columns, inner));
    assert_eq!(sums.len(), blocks_len(rows, columns));
    let across = columns.div_ceil(BLOCK);
    for (number, sums) in sums.chunks_exact_mut(BLOCK_VALUES).enumerate() {
        let [left, right] = [
            two_lines(left, number / across * BLOCK, inner),
            two_lines(right, number % across * BLOCK, inner),
        ];
        tiles.multiply(left, right, sums, true);
    }
}

/// Copies blocks, as [`add_product`] has them, to rows.
pub(crate) fn blocks_to_rows(
    isa: Isa,
    [rows, columns]: [usize; 2],
    blocks: &[f32],
    out: &mut [f32],
    out_row: usize,
) {
    let across = columns.div_ceil(BLOCK);
    for (number, block) in blocks.chunks_exact(BLOCK_VALUES).enumerate() {
        let (row, column) = (number / across * BLOCK, number % across * BLOCK);
        isa.run(BlockToRows {
            rows: BLOCK.min(rows - row),
            columns: BLOCK.min(columns - column),
            block,
            out: &mut out[row * out_row + column..],
            out_row,
            accumulate: false,
        });
    }
}

/// Copies the first rows and columns of a block, or adds them to what is there.
struct BlockToRows<'a, T> {
    rows: usize,
    columns: usize,
    block: &'a [f32],
    out: &'a mut [T],
    out_row: usize,
    accumulate: bool,
}

impl<T: Stored> Kernel for BlockToRows<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows,
            columns,
            out_row,
            ..
        } = self;
        assert!(rows <= BLOCK && columns <= BLOCK && self.block.len() == BLOCK_VALUES);
        assert!(rows == 0 || self.out.len() >= (rows - 1) * out_row + columns);
        for row in 0..rows {
            for column in (0..columns).step_by(S::LANES) {
                let n = columns - column;
                // SAFETY: within the block and the rows, see above; a block's rows are whole vectors.
                unsafe {
                    let out = self.out.as_mut_ptr().add(row * out_row + column);
                    let mut sum = s.load(self.block.as_ptr().add(row * BLOCK + column));
                    if self.accumulate {
                        sum = s.add(sum, T::load_first(s, out, n));
                    }
                    T::store_first(s, out, n, sum);
                }
            }
        }
    }
}
