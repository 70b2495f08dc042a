//! Matrix products in tiles of bfloat16: how operands are laid out, and how results become rows again.
//!
//! ```text
//! out[i][j] (+)= sum over k of left[i][k] * right[k][j]
//! ```
//!
//! The tile instructions ([`crate::simd::amx`]) multiply a tile of 16 rows and 32 terms by one of 32 terms and 16 columns.
//! Both operands are copied into **tile order** first, a few hundred rows at a time, while they are in the cache. All
//! tiles are whole, what a matrix lacks is zero, and the instructions read memory in sequence. A tile has 16 by 16
//! *pairs* of neighbouring terms, a pair in 32 bits:
//!
//! ```text
//! left,  tile (i, s), row r, pair p:      left[16 i + r][32 s + 2 p], left[16 i + r][32 s + 2 p + 1]
//! right, tile (j, s), row p, pair c:      right[32 s + 2 p][16 j + c], right[32 s + 2 p + 1][16 j + c]
//! ```
//!
//! Tiles that share `i` or `j` are a *line*, and the lines follow each other, an even number of them. A tile of the
//! right side is the transpose of a tile of the left side of the transposed matrix. So two kernels, each with or
//! without a transposition, make all operands of a 1x1 convolution from matrices that are stored by rows:
//!
//! | product | left | right |
//! |---|---|---|
//! | forward, `x W'` | [`ByRows`] of `x` | [`ByRows`] of `W`, transposed |
//! | input gradient, `dy W` | [`NormGradientTiles`] | [`ByColumns`] of `W` |
//! | weight gradient, `x' dy` | [`ByColumns`] of `x`, transposed | [`NormGradientTiles`] |

use burn_std::bf16;

use crate::kernels::rows::Rows;
use crate::simd::amx::Tiles;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Simd};

/// Rows of a tile of the left side, and columns of one of the right side. A line has so many.
const SIDE: usize = 16;

/// Terms of a tile.
const TERMS: usize = 32;

/// Values of a tile.
pub(crate) const TILE_VALUES: usize = SIDE * TERMS;

/// Rows and columns of a block of the result: two lines of each side.
const BLOCK: usize = 2 * SIDE;

/// Values of a block of the result.
pub(crate) const BLOCK_VALUES: usize = BLOCK * BLOCK;

/// Values of an operand in tile order, with so many rows (or columns, on the right side) and terms.
pub(crate) fn packed_len(outer: usize, terms: usize) -> usize {
    outer.next_multiple_of(BLOCK) * terms.next_multiple_of(TERMS)
}

/// Values of a weight gradient's blocks.
pub(crate) fn blocks_len(rows: usize, columns: usize) -> usize {
    rows.next_multiple_of(BLOCK) * columns.next_multiple_of(BLOCK)
}

/// Writes the part of a tile that starts at row `at[0]` and pair `at[1]`: as many vectors as a vector has lanes, each lane
/// a pair, or, `transposed`, the part of the transposed tile that they are.
///
/// # Safety
/// `tile` points at a writable tile, and the part is within it.
#[inline(always)]
unsafe fn write_part<S: Simd>(
    s: S,
    mut part: [S::Vector; SIDE],
    [row, pair]: [usize; 2],
    transposed: bool,
    tile: *mut f32,
) {
    let mut start = row * SIDE + pair;
    if transposed {
        transpose(s, &mut part);
        start = pair * SIDE + row;
    }
    for (i, vector) in part.into_iter().take(S::LANES).enumerate() {
        // SAFETY: the caller's promise.
        unsafe { s.store(tile.add(start + i * SIDE), vector) };
    }
}

/// Transposes the first vectors, as many as a vector has lanes, in perfect shuffles: each halves the distance of lanes
/// that belong together.
#[inline(always)]
fn transpose<S: Simd>(s: S, part: &mut [S::Vector; SIDE]) {
    let half = S::LANES / 2;
    for _ in 0..S::LANES.ilog2() {
        let old = *part;
        for i in 0..half {
            (part[2 * i], part[2 * i + 1]) = s.interleave(old[i], old[i + half]);
        }
    }
}

/// Puts a matrix into tile order, its rows as lines and its columns as terms: the left side of a product, or, with
/// each tile transposed, the right side of a product with the transposed matrix.
pub(crate) struct ByRows<'a, T> {
    pub rows: usize,
    pub columns: usize,
    pub x: Rows<'a, T>,
    pub transposed: bool,
    pub out: &'a mut [bf16],
}

impl<T: Stored> Kernel for ByRows<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, columns, .. } = self;
        self.x.check(rows, columns);
        assert_eq!(self.out.len(), packed_len(rows, columns));
        let steps = columns.div_ceil(TERMS);
        for (number, tile) in self.out.chunks_exact_mut(TILE_VALUES).enumerate() {
            let (line, step) = (number / steps, number % steps);
            for part in 0..(SIDE / S::LANES).pow(2) {
                let at = [part % 2 * S::LANES, part / 2 * S::LANES];
                let (row, column) = (line * SIDE + at[0], step * TERMS + 2 * at[1]);
                let count = columns.saturating_sub(column).min(2 * S::LANES);
                let mut vectors = [s.splat(0.0); SIDE];
                for i in 0..S::LANES.min(rows.saturating_sub(row)) {
                    // SAFETY: the row is in the matrix, which was checked, and has `count` values from the column on.
                    unsafe {
                        let start = (row + i) * self.x.stride + column;
                        let x = self.x.data.as_ptr().wrapping_add(start);
                        vectors[i] = pairs_of_row(s, x, count);
                    }
                }
                // SAFETY: exactly a tile.
                unsafe { write_part(s, vectors, at, self.transposed, tile.as_mut_ptr().cast()) };
            }
        }
    }
}

/// A row's first `count` values as pairs of bfloat16, at most a vector of pairs. What is missing is zero.
///
/// # Safety
/// `x` points at `count` values.
#[inline(always)]
unsafe fn pairs_of_row<S: Simd, T: Stored>(s: S, x: *const T, count: usize) -> S::Vector {
    // SAFETY: the caller's promise; a value without a neighbour is copied beside a zero.
    let (a, b) = unsafe {
        if count.is_multiple_of(2) {
            T::load_pairs(s, x, count / 2)
        } else {
            let mut padded = [T::ZERO; TERMS];
            padded.as_mut_ptr().copy_from_nonoverlapping(x, count);
            T::load_pairs(s, padded.as_ptr(), count.div_ceil(2))
        }
    };
    T::bf16_pairs(s, a, b)
}

/// Puts a matrix into tile order, its columns as lines and its rows as terms: the right side of a product, or, with
/// each tile transposed, the left side of a product with the transposed matrix.
pub(crate) struct ByColumns<'a, T> {
    pub rows: usize,
    pub columns: usize,
    pub x: Rows<'a, T>,
    pub transposed: bool,
    pub out: &'a mut [bf16],
}

impl<T: Stored> Kernel for ByColumns<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, columns, .. } = self;
        self.x.check(rows, columns);
        assert_eq!(self.out.len(), packed_len(columns, rows));
        let steps = rows.div_ceil(TERMS);
        for (number, tile) in self.out.chunks_exact_mut(TILE_VALUES).enumerate() {
            let (line, step) = (number / steps, number % steps);
            for part in 0..(SIDE / S::LANES).pow(2) {
                let at = [part % 2 * S::LANES, part / 2 * S::LANES];
                let (row, column) = (step * TERMS + 2 * at[0], line * SIDE + at[1]);
                let count = columns.saturating_sub(column).min(S::LANES);
                let rows = rows.saturating_sub(row).min(2 * S::LANES);
                let start = row * self.x.stride + column;
                let x = self.x.data.as_ptr().wrapping_add(start);
                let mut vectors = [s.splat(0.0); SIDE];
                // SAFETY: so many rows are in the matrix, which was checked, and have `count` values from the column on.
                unsafe {
                    for i in 0..rows / 2 {
                        let upper = x.wrapping_add(2 * i * self.x.stride);
                        let lower = T::load_first(s, upper.wrapping_add(self.x.stride), count);
                        vectors[i] = T::bf16_pairs(s, T::load_first(s, upper, count), lower);
                    }
                    if rows % 2 == 1 {
                        let last = x.wrapping_add((rows - 1) * self.x.stride);
                        let last = T::load_first(s, last, count);
                        vectors[rows / 2] = T::bf16_pairs(s, last, s.splat(0.0));
                    }
                }
                // SAFETY: exactly a tile.
                unsafe { write_part(s, vectors, at, self.transposed, tile.as_mut_ptr().cast()) };
            }
        }
    }
}

/// Batch norm's backward, `dy = a g + b (y - mean) + c`, rounded and in tile order twice: as [`ByRows`] for the input's
/// gradient, and as [`ByColumns`] for the weight's. The four vectors are whole.
pub(crate) struct NormGradientTiles<'a, T> {
    pub rows: usize,
    pub columns: usize,
    pub g: Rows<'a, T>,
    pub y: Rows<'a, T>,
    pub mean: &'a [f32],
    pub factors: [&'a [f32]; 3],
    pub by_rows: &'a mut [bf16],
    pub by_columns: &'a mut [bf16],
}

impl<T: Stored> Kernel for NormGradientTiles<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows,
            columns,
            factors,
            ..
        } = self;
        self.g.check(rows, columns);
        self.y.check(rows, columns);
        let padded = columns.next_multiple_of(S::LANES);
        assert!(self.mean.len() >= padded);
        assert!(factors.iter().all(|factor| factor.len() >= padded));
        assert_eq!(self.by_rows.len(), packed_len(rows, columns));
        assert_eq!(self.by_columns.len(), packed_len(columns, rows));
        let (row_steps, column_steps) = (rows.div_ceil(TERMS), columns.div_ceil(TERMS));
        let zero = s.splat(0.0);
        for column in (0..column_steps * TERMS).step_by(S::LANES) {
            let columns = columns.saturating_sub(column);
            let mut vectors = [zero; 4];
            if columns > 0 {
                for (vector, of) in vectors
                    .iter_mut()
                    .zip([self.mean, factors[0], factors[1], factors[2]])
                {
                    // SAFETY: the vectors are whole, see above.
                    *vector = unsafe { s.load(of.as_ptr().add(column)) };
                }
            }
            // Where the columns start in a line of each operand.
            let by_rows = column / TERMS * TILE_VALUES + column % TERMS;
            let by_columns = column / SIDE * row_steps * TILE_VALUES + 2 * (column % SIDE);
            for row in (0..row_steps * TERMS).step_by(2) {
                let mut dy = [zero; 2];
                for (i, dy) in dy.iter_mut().enumerate() {
                    if row + i < rows && columns > 0 {
                        // SAFETY: the row and the column are in the matrices, which were checked.
                        unsafe {
                            let y = self.y.data.as_ptr().add((row + i) * self.y.stride + column);
                            let g = self.g.data.as_ptr().add((row + i) * self.g.stride + column);
                            *dy = norm_gradient(s, [g, y], columns, vectors);
                        }
                    }
                }
                let line = row / SIDE * column_steps * TILE_VALUES;
                // SAFETY: rows and columns, rounded up to whole tiles, are within both operands, whose lengths were checked.
                unsafe {
                    let to = self
                        .by_rows
                        .as_mut_ptr()
                        .add(line + by_rows + row % SIDE * TERMS);
                    s.store_bf16_first(to.cast(), S::LANES, dy[0]);
                    s.store_bf16_first(to.add(TERMS).cast(), S::LANES, dy[1]);
                    let to = self
                        .by_columns
                        .as_mut_ptr()
                        .add(by_columns + row / 2 * TERMS);
                    s.store(to.cast(), s.pair_bf16(dy[0], dy[1]));
                }
            }
        }
    }
}

/// `a g + b (y - mean) + c` of the first `n` columns.
///
/// # Safety
/// `g` and `y` point at `min(n, LANES)` values.
#[inline(always)]
unsafe fn norm_gradient<S: Simd, T: Stored>(
    s: S,
    [g, y]: [*const T; 2],
    n: usize,
    [mean, a, b, c]: [S::Vector; 4],
) -> S::Vector {
    // SAFETY: the caller's promise.
    unsafe {
        let dy = s.mul_add(s.sub(T::load_first(s, y, n), mean), b, c);
        s.mul_add(T::load_first(s, g, n), a, dy)
    }
}

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
        let Self { rows, columns, .. } = self;
        let (left, right) = (self.left, self.right);
        assert_eq!(left.len(), packed_len(rows, self.inner));
        assert_eq!(right.len(), packed_len(columns, self.inner));
        let mut block = Block([0.0; BLOCK_VALUES]);
        for column in (0..columns).step_by(BLOCK) {
            let right = two_lines(right, column, self.inner);
            for row in (0..rows).step_by(BLOCK) {
                let left = two_lines(left, row, self.inner);
                tiles.multiply(left, right, &mut block.0, false);
                isa.run(BlockToRows {
                    rows: BLOCK.min(rows - row),
                    columns: BLOCK.min(columns - column),
                    block: &block.0,
                    out: &mut self.out[row * self.out_row + column..],
                    out_row: self.out_row,
                    accumulate: self.accumulate,
                });
            }
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

#[cfg(test)]
mod tests;
