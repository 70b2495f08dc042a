//! Sums by column over rows of pixels, which batch norm needs of a batch.

use crate::kernels::rows::Rows;
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

/// Independent sums for each column, which hide the latency of an addition.
const CHAINS: usize = 4;

/// Adds `sum over rows of (x - center)` and `sum of (x - center)^2` to `sums`, per column.
///
/// `center` is any value near the mean, so that squares do not cancel. `center` and each half of
/// `sums` are whole vectors.
pub(crate) struct CenteredSums<'a, T> {
    pub rows: usize,
    pub columns: usize,
    pub x: Rows<'a, T>,
    pub center: &'a [f32],
    pub sums: [&'a mut [f32]; 2],
}

impl<T: Stored> Kernel for CenteredSums<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.x.check(self.rows, self.columns);
        let [linear, squares] = self.sums;
        let padded = self.columns.next_multiple_of(S::LANES);
        assert!(linear.len() >= padded && squares.len() >= padded && self.center.len() >= padded);
        for column in (0..self.columns).step_by(S::LANES) {
            let n = self.columns - column;
            // SAFETY: rows and columns within what was asserted; the last vector is cut to `n`.
            unsafe {
                let center = s.load(self.center.as_ptr().add(column));
                let mut sum = [s.splat(0.0); CHAINS];
                let mut square = [s.splat(0.0); CHAINS];
                let mut at = self.x.data.as_ptr().add(column);
                let mut row = 0;
                while row < self.rows {
                    // The number of chains is constant except at the end, so they stay in registers.
                    for chain in 0..CHAINS {
                        if row + chain < self.rows {
                            let x = s.sub(T::load_first(s, at, n), center);
                            sum[chain] = s.add(sum[chain], x);
                            square[chain] = s.mul_add(x, x, square[chain]);
                            at = at.wrapping_add(self.x.stride);
                        }
                    }
                    row += CHAINS;
                }
                add_to(s, linear, column, sum);
                add_to(s, squares, column, square);
            }
        }
    }
}

/// # Safety
/// `sums` has a whole vector from `column` on.
#[inline(always)]
unsafe fn add_to<S: Simd>(s: S, sums: &mut [f32], column: usize, chains: [S::Vector; CHAINS]) {
    let [a, b, c, d] = chains;
    let sum = s.add(s.add(a, b), s.add(c, d));
    // SAFETY: the caller's promise.
    unsafe {
        let at = sums.as_mut_ptr().add(column);
        s.store(at, s.add(s.load(at), sum));
    }
}

/// Adds `sum over rows of g` and `sum of g * (y - mean)` to `sums`, per column. Batch norm's backward
/// needs both over the whole batch. `mean` and each half of `sums` are whole vectors.
pub(crate) struct GradientSums<'a, T> {
    pub rows: usize,
    pub columns: usize,
    pub g: Rows<'a, T>,
    pub y: Rows<'a, T>,
    pub mean: &'a [f32],
    pub sums: [&'a mut [f32]; 2],
}

impl<T: Stored> Kernel for GradientSums<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.g.check(self.rows, self.columns);
        self.y.check(self.rows, self.columns);
        let [plain, weighted] = self.sums;
        let padded = self.columns.next_multiple_of(S::LANES);
        assert!(plain.len() >= padded && weighted.len() >= padded && self.mean.len() >= padded);
        for column in (0..self.columns).step_by(S::LANES) {
            let n = self.columns - column;
            // SAFETY: rows and columns within what was asserted; the last vector is cut to `n`.
            unsafe {
                let mean = s.load(self.mean.as_ptr().add(column));
                let mut sum = [s.splat(0.0); CHAINS];
                let mut product = [s.splat(0.0); CHAINS];
                let mut g_at = self.g.data.as_ptr().add(column);
                let mut y_at = self.y.data.as_ptr().add(column);
                let mut row = 0;
                while row < self.rows {
                    for chain in 0..CHAINS {
                        if row + chain < self.rows {
                            let g = T::load_first(s, g_at, n);
                            let y = s.sub(T::load_first(s, y_at, n), mean);
                            sum[chain] = s.add(sum[chain], g);
                            product[chain] = s.mul_add(g, y, product[chain]);
                            g_at = g_at.wrapping_add(self.g.stride);
                            y_at = y_at.wrapping_add(self.y.stride);
                        }
                    }
                    row += CHAINS;
                }
                add_to(s, plain, column, sum);
                add_to(s, weighted, column, product);
            }
        }
    }
}
