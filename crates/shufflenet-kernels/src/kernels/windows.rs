//! The 3x3 windows of an image, written out as rows, so that a dense convolution is a matrix product.

use crate::simd::{Kernel, Simd};

/// Writes the windows of some rows of output pixels: `rows` rows from row `first` on.
pub(crate) struct Windows<'a> {
    /// An image with a border of 1, pixel by pixel.
    pub map: &'a [f32],
    /// Values from one row of the map's pixels to the next.
    pub row: usize,
    pub channels: usize,
    pub stride: usize,
    pub first: usize,
    pub rows: usize,
    pub width: usize,
    pub out: &'a mut [f32],
}

impl Kernel for Windows<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let run = 3 * self.channels;
        let last = self.stride * (self.first + self.rows - 1) + 2;
        let end = last * self.row + self.stride * (self.width - 1) * self.channels + run;
        assert!(self.map.len() >= end && self.out.len() >= 3 * run * self.rows * self.width);
        for y in 0..self.rows {
            for x in 0..self.width {
                for i in 0..3 {
                    for value in (0..run).step_by(S::LANES) {
                        // SAFETY: the window is within the map and its row within `out`, as asserted;
                        // each move is cut to what is left of the run.
                        unsafe {
                            let from = (self.stride * (self.first + y) + i) * self.row
                                + self.stride * x * self.channels;
                            let to = ((y * self.width + x) * 3 + i) * run + value;
                            let v = s.load_first(self.map.as_ptr().add(from + value), run - value);
                            s.store_first(self.out.as_mut_ptr().add(to), run - value, v);
                        }
                    }
                }
            }
        }
    }
}
