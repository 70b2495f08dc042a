//! The input gradient of the depthwise convolution, and of the ReLU before it.
//!
//! For stride 1 it is the convolution of `dy`, padded by 1, with the weights rotated by 180 degrees. For stride 2 an input
//! pixel meets one, two or four weights, depending on whether its row and column are even; `dy` is then padded by 1 at its
//! end only.

use super::{STRIP, taps, window};
use crate::kernels::map::MapShape;
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

/// Computes the gradient of every input pixel into rows of `out_stride` values.
pub(crate) struct InputGradient<'a, T> {
    /// The input's height and width.
    pub size: [usize; 2],
    pub columns: usize,
    pub stride: usize,
    pub dy_shape: MapShape,
    pub dy: &'a [f32],
    pub weight: &'a [f32],
    /// The convolution's input as [`FillMap`](crate::kernels::map::FillMap) wrote it. If given, the
    /// gradient of the ReLU before the convolution is applied: it is zero where the input is.
    pub relu: Option<(&'a [f32], MapShape)>,
    pub out: &'a mut [T],
    pub out_stride: usize,
}

impl<T: Stored> Kernel for InputGradient<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [height, width] = self.size;
        let shape = self.dy_shape;
        assert!(shape.channels.is_multiple_of(S::LANES) && shape.channels >= self.columns);
        assert!(self.dy.len() >= shape.len() && self.weight.len() >= 9 * shape.channels);
        assert_eq!(shape.height, height.div_ceil(self.stride));
        assert_eq!(shape.width, width.div_ceil(self.stride));
        assert!(self.out.len() >= (height * width - 1) * self.out_stride + self.columns);
        if let Some((map, map_shape)) = self.relu {
            assert!(map_shape.channels == shape.channels && map.len() >= map_shape.len());
            assert!([map_shape.height, map_shape.width] == self.size);
        }
        match self.stride {
            1 => {
                assert!(shape.before == 1 && shape.after == 1);
                self.dense(s);
            }
            _ => {
                assert!(shape.after == 1);
                self.dealt(s);
            }
        }
    }
}

impl<T: Stored> InputGradient<'_, T> {
    /// Stores one pixel's gradient.
    ///
    /// # Safety
    /// The pixel is within the input, and `run` has checked everything.
    #[inline(always)]
    unsafe fn put<S: Simd>(&mut self, s: S, [y, x]: [usize; 2], column: usize, g: S::Vector) {
        let mut g = g;
        // SAFETY: the caller's promise; stores are cut to the existing channels.
        unsafe {
            if let Some((map, shape)) = self.relu {
                let z = s.load(map.as_ptr().add(shape.at(y, x) + column));
                g = s.where_positive(z, g);
            }
            let at = (y * self.size[1] + x) * self.out_stride + column;
            T::store_first(s, self.out.as_mut_ptr().add(at), self.columns - column, g);
        }
    }

    /// The gradient for stride 1.
    #[inline(always)]
    fn dense<S: Simd>(mut self, s: S) {
        let shape = self.dy_shape;
        for column in (0..self.columns).step_by(S::LANES) {
            // SAFETY: `run` has checked everything; every window is within map and border.
            unsafe {
                let weight = taps(s, self.weight, shape.channels, column, true);
                for y in 0..shape.height {
                    let line = self.dy.as_ptr().add(y * shape.row() + column);
                    let mut x = 0;
                    while x + STRIP <= shape.width {
                        let from = line.add(x * shape.channels);
                        let sums = window::<S, 1, STRIP>(s, from, &shape, &weight);
                        for (o, sum) in sums.into_iter().enumerate() {
                            self.put(s, [y, x + o], column, sum);
                        }
                        x += STRIP;
                    }
                    while x < shape.width {
                        let from = line.add(x * shape.channels);
                        let [sum] = window::<S, 1, 1>(s, from, &shape, &weight);
                        self.put(s, [y, x], column, sum);
                        x += 1;
                    }
                }
            }
        }
    }

    /// The gradient for stride 2. Input pixel `2 o - 1 + i` meets weight `i` of output `o`: an even row
    /// meets the middle weight of its own output, an odd row the last weight of its own output and the
    /// first of the next.
    #[inline(always)]
    fn dealt<S: Simd>(mut self, s: S) {
        let shape = self.dy_shape;
        let [height, width] = self.size;
        let zero = s.splat(0.0);
        for column in (0..self.columns).step_by(S::LANES) {
            // SAFETY: `run` has checked everything; the pixels after the last are the border's.
            unsafe {
                let w = taps(s, self.weight, shape.channels, column, false);
                for o in 0..shape.height {
                    for p in 0..shape.width {
                        let at = self.dy.as_ptr().add(shape.at(o, p) + column);
                        let here = s.load(at);
                        let right = s.load(at.add(shape.channels));
                        let below = s.load(at.add(shape.row()));
                        let across = s.load(at.add(shape.row() + shape.channels));
                        let [y, x] = [2 * o, 2 * p];
                        self.put(s, [y, x], column, s.mul_add(here, w[4], zero));
                        if x + 1 < width {
                            let g = s.mul_add(right, w[3], s.mul_add(here, w[5], zero));
                            self.put(s, [y, x + 1], column, g);
                        }
                        if y + 1 < height {
                            let g = s.mul_add(below, w[1], s.mul_add(here, w[7], zero));
                            self.put(s, [y + 1, x], column, g);
                        }
                        if x + 1 < width && y + 1 < height {
                            let g = s.mul_add(right, w[6], s.mul_add(here, w[8], zero));
                            let g = s.mul_add(across, w[0], s.mul_add(below, w[2], g));
                            self.put(s, [y + 1, x + 1], column, g);
                        }
                    }
                }
            }
        }
    }
}
