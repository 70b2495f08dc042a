//! Batch norm's backward in tile order ([`super`]), for both products that read it.

use half::bf16;

use super::{SIDE, TERMS, TILE_VALUES, packed_len};
use crate::kernels::rows::Rows;
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

/// Batch norm's backward, `dy = a g + b (y - mean) + c`, rounded and in tile order twice: as [`ByRows`] for the input's
/// gradient, and as [`ByColumns`] for the weight's. The four vectors are whole, padded
/// with zeros.
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
                            *dy = s.round_bf16(norm_gradient(s, [g, y], columns, vectors));
                        }
                    }
                }
                let line = row / SIDE * column_steps * TILE_VALUES;
                // SAFETY: rows and columns, rounded up to whole tiles, are within both operands, whose lengths were
                // checked.
                unsafe {
                    let to = self
                        .by_rows
                        .as_mut_ptr()
                        .add(line + by_rows + row % SIDE * TERMS);
                    s.store_upper_first(to.cast(), S::LANES, dy[0]);
                    s.store_upper_first(to.add(TERMS).cast(), S::LANES, dy[1]);
                    let to = self
                        .by_columns
                        .as_mut_ptr()
                        .add(by_columns + row / 2 * TERMS);
                    s.store(to.cast(), s.pair_upper(dy[0], dy[1]));
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
