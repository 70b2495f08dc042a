//! Stored matrices in tile order ([`super`]): by rows, by columns, each with or without a transposition.

use half::bf16;

use super::{SIDE, TERMS, TILE_VALUES, packed_len};
use crate::kernels::rows::Rows;
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

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
            let parts = SIDE / S::LANES;
            for part in 0..parts.pow(2) {
                let at = [part % parts * S::LANES, part / parts * S::LANES];
                let (row, column) = (line * SIDE + at[0], step * TERMS + 2 * at[1]);
                let count = columns.saturating_sub(column).min(2 * S::LANES);
                let mut vectors = [s.splat(0.0); SIDE];
                let rows = S::LANES.min(rows.saturating_sub(row));
                for (i, vector) in vectors.iter_mut().take(rows).enumerate() {
                    // SAFETY: the row is in the matrix, which was checked, and has `count` values from the column on.
                    unsafe {
                        let start = (row + i) * self.x.stride + column;
                        let x = self.x.data.as_ptr().wrapping_add(start);
                        *vector = pairs_of_row(s, x, count);
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
            let parts = SIDE / S::LANES;
            for part in 0..parts.pow(2) {
                let at = [part % parts * S::LANES, part / parts * S::LANES];
                let (row, column) = (step * TERMS + 2 * at[0], line * SIDE + at[1]);
                let count = columns.saturating_sub(column).min(S::LANES);
                let rows = rows.saturating_sub(row).min(2 * S::LANES);
                let start = row * self.x.stride + column;
                let x = self.x.data.as_ptr().wrapping_add(start);
                let mut vectors = [s.splat(0.0); SIDE];
                // SAFETY: the matrix, whose size was checked, has `rows` rows from `row` on, and `count` columns from
                // `column` on.
                unsafe {
                    for (i, vector) in vectors.iter_mut().take(rows / 2).enumerate() {
                        let upper = x.wrapping_add(2 * i * self.x.stride);
                        let lower = T::load_first(s, upper.wrapping_add(self.x.stride), count);
                        *vector = T::bf16_pairs(s, T::load_first(s, upper, count), lower);
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
