//! One image as a scratch map with a border of zeros, for the windows of convolution and pooling.
//!
//! The copy into the map also applies what precedes the operation: batch norm and ReLU, or batch
//! norm's backward. The map stays in the second-level cache. Its channels are padded to whole
//! vectors.

use crate::kernels::rows::Rows;
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

/// Shape of one image's map of pixels with a border. `channels` is padded to whole vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// Rows of pixels inside the border.
    pub height: usize,
    /// Pixels in a row inside the border.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
    /// Zero pixels before the first row and column.
    pub before: usize,
    /// Zero pixels after the last row and column.
    pub after: usize,
}

impl MapShape {
    /// Values from one row of pixels to the next.
    pub const fn row(&self) -> usize {
        (self.before + self.width + self.after) * self.channels
    }

    /// Values of the whole map.
    pub const fn len(&self) -> usize {
        (self.before + self.height + self.after) * self.row()
    }

    /// Index of the first value of the pixel `[y][x]` inside the border.
    pub const fn at(&self, y: usize, x: usize) -> usize {
        (y + self.before) * self.row() + (x + self.before) * self.channels
    }

    /// Writes zeros to the border.
    pub fn clear_border<T: Stored>(&self, map: &mut [T]) {
        let row = self.row();
        let (top, bottom) = (self.before * row, (self.before + self.height) * row);
        map[..top].fill(T::ZERO);
        map[bottom..self.len()].fill(T::ZERO);
        let (left, right) = (
            self.before * self.channels,
            (self.before + self.width) * self.channels,
        );
        for line in map[top..bottom].chunks_exact_mut(row) {
            line[..left].fill(T::ZERO);
            line[right..].fill(T::ZERO);
        }
    }
}

/// What is applied to a pixel on the way into the map.
#[derive(Clone, Copy)]
pub(crate) enum Fill<'a, T> {
    /// Nothing: the pixel is copied.
    Plain,
    /// `relu(scale * y + shift)`; `scale` and `shift` are whole vectors.
    NormRelu { scale: &'a [f32], shift: &'a [f32] },
    /// Batch norm's backward, `a * g + b * (y - mean) + c`, where `y` are the pixels and `factors` are `a`,
    /// `b` and `c`; all vectors are whole.
    NormGradient {
        g: Rows<'a, T>,
        mean: &'a [f32],
        factors: [&'a [f32]; 3],
    },
}

/// Copies an image of `columns` channels into a map inside its border, with zeros in the padded channels.
pub(crate) struct FillMap<'a, T> {
    pub shape: MapShape,
    pub columns: usize,
    pub y: Rows<'a, T>,
    pub fill: Fill<'a, T>,
    pub map: &'a mut [f32],
}

impl<T: Stored> Kernel for FillMap<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            shape, columns, y, ..
        } = self;
        let pixels = shape.height * shape.width;
        let holds = |rows: Rows<T>| rows.data.len() >= (pixels - 1) * rows.stride + columns;
        assert!(pixels > 0 && columns > 0 && holds(y));
        assert!(shape.channels.is_multiple_of(S::LANES) && shape.channels >= columns);
        assert!(shape.channels < columns + S::LANES && self.map.len() >= shape.len());
        let whole = |vector: &[f32]| vector.len() >= shape.channels;
        match self.fill {
            Fill::Plain => {}
            Fill::NormRelu { scale, shift } => assert!(whole(scale) && whole(shift)),
            Fill::NormGradient { g, mean, factors } => {
                assert!(holds(g) && whole(mean) && factors.iter().all(|vector| whole(vector)));
            }
        }
        for row in 0..shape.height {
            for column in (0..columns).step_by(S::LANES) {
                // SAFETY: the row's pixels and the channels from `column` on are within what was
                // asserted, on both sides; reads are cut to the existing channels.
                unsafe {
                    let line = Line {
                        first: row * shape.width,
                        pixels: shape.width,
                        column,
                        n: columns - column,
                        to: self.map.as_mut_ptr().add(shape.at(row, 0) + column),
                        step: shape.channels,
                    };
                    line.fill(s, y, self.fill);
                }
            }
        }
    }
}

/// One vector of each pixel in a row of an image.
struct Line {
    first: usize,
    pixels: usize,
    column: usize,
    n: usize,
    to: *mut f32,
    step: usize,
}

impl Line {
    /// # Safety
    /// The line's pixels, from its column on, are readable in `y` and writable at `to`, and the vectors
    /// of `fill` are whole there.
    #[inline(always)]
    unsafe fn fill<S: Simd, T: Stored>(&self, s: S, y: Rows<T>, fill: Fill<T>) {
        let n = self.n;
        let pixels = 0..self.pixels;
        // SAFETY of all accesses: the caller's promise.
        unsafe {
            let vector = |values: &[f32]| s.load(values.as_ptr().add(self.column));
            let from = |rows: Rows<T>, pixel: usize| {
                rows.data
                    .as_ptr()
                    .add((self.first + pixel) * rows.stride + self.column)
            };
            match fill {
                Fill::Plain => {
                    for x in pixels {
                        s.store(self.to.add(x * self.step), T::load_first(s, from(y, x), n));
                    }
                }
                Fill::NormRelu { scale, shift } => {
                    let (scale, shift, zero) = (vector(scale), vector(shift), s.splat(0.0));
                    for x in pixels {
                        let z = s.mul_add(T::load_first(s, from(y, x), n), scale, shift);
                        s.store(self.to.add(x * self.step), s.max(zero, z));
                    }
                }
                Fill::NormGradient {
                    g,
                    mean,
                    factors: [a, b, c],
                } => {
                    let mean = vector(mean);
                    let [a, b, c] = [vector(a), vector(b), vector(c)];
                    for x in pixels {
                        let dy = s.mul_add(s.sub(T::load_first(s, from(y, x), n), mean), b, c);
                        let dy = s.mul_add(T::load_first(s, from(g, x), n), a, dy);
                        s.store(self.to.add(x * self.step), dy);
                    }
                }
            }
        }
    }
}
