//! The channel shuffle by two groups, row by row, and its inverse.

use super::rows::Rows;
use super::simd::{Kernel, Simd};

/// A row's two halves, dealt out in turn.
pub(crate) struct Interleave<'a> {
    pub rows: usize,
    pub half: usize,
    pub x: Rows<'a>,
    pub out: &'a mut [f32],
    pub out_stride: usize,
}

impl Kernel for Interleave<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows,
            half,
            out_stride,
            ..
        } = self;
        self.x.check(rows, 2 * half);
        assert!(rows == 0 || self.out.len() >= (rows - 1) * out_stride + 2 * half);
        for row in 0..rows {
            for column in (0..half).step_by(S::LANES) {
                let n = half - column;
                // SAFETY: both halves of the row, and both vectors of the result, within what was
                // asserted; the last of each is cut to what is left.
                unsafe {
                    let x = self.x.data.as_ptr().add(row * self.x.stride + column);
                    let first = s.load_first(x, n);
                    let second = s.load_first(x.add(half), n);
                    let (low, high) = s.interleave(first, second);
                    let out = self.out.as_mut_ptr().add(row * out_stride + 2 * column);
                    s.store_first(out, 2 * n, low);
                    if 2 * n > S::LANES {
                        s.store_first(out.add(S::LANES), 2 * n - S::LANES, high);
                    }
                }
            }
        }
    }
}

/// The inverse of [`Interleave`]: every second channel, then the others.
pub(crate) struct Deinterleave<'a> {
    pub rows: usize,
    pub half: usize,
    pub x: Rows<'a>,
    pub out: &'a mut [f32],
    pub out_stride: usize,
}

impl Kernel for Deinterleave<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows,
            half,
            out_stride,
            ..
        } = self;
        self.x.check(rows, 2 * half);
        assert!(rows == 0 || self.out.len() >= (rows - 1) * out_stride + 2 * half);
        for row in 0..rows {
            for column in (0..half).step_by(S::LANES) {
                let n = half - column;
                // SAFETY: as in `Interleave`.
                unsafe {
                    let x = self.x.data.as_ptr().add(row * self.x.stride + 2 * column);
                    let low = s.load_first(x, 2 * n);
                    let high = match 2 * n > S::LANES {
                        true => s.load_first(x.add(S::LANES), 2 * n - S::LANES),
                        false => s.splat(0.0),
                    };
                    let (first, second) = s.deinterleave(low, high);
                    let out = self.out.as_mut_ptr().add(row * out_stride + column);
                    s.store_first(out, n, first);
                    s.store_first(out.add(half), n, second);
                }
            }
        }
    }
}
