//! Passes over rows of pixels: copies and batch norm's affine maps.
//!
//! A *row* is one pixel's channels. Every pass works on a block of rows that the operation before it
//! has just written, so the block is in the cache.

use std::ops::Range;

use crate::kernels::prefetch::Ahead;
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Simd};

/// A block of rows to read, with `stride` values from one row to the next.
#[derive(Clone, Copy)]
pub struct Rows<'a, T = f32> {
    /// The values; the last row may end where its columns end.
    pub data: &'a [T],
    /// Values from one row to the next.
    pub stride: usize,
}

impl<'a, T: Stored> Rows<'a, T> {
    /// Rows of `data`.
    pub fn new(data: &'a [T], stride: usize) -> Self {
        Self { data, stride }
    }

    /// The rows from `first` on.
    pub fn behind(self, first: usize) -> Self {
        Rows::new(&self.data[first * self.stride..], self.stride)
    }

    /// The storage of the rows `rows`, cut to the end of the block, to prefetch.
    pub(crate) fn storage(self, rows: Range<usize>) -> Ahead<'a> {
        let at = |row: usize| (row * self.stride).min(self.data.len());
        Ahead::of(&self.data[at(rows.start)..at(rows.end)])
    }

    /// Panics unless `rows` rows of `columns` values are within the block.
    #[inline(always)]
    pub fn check(&self, rows: usize, columns: usize) {
        assert!(rows == 0 || self.data.len() >= (rows - 1) * self.stride + columns);
    }
}

/// Scratch for rows in float32, in which a product reads its left side: to widen a value for each of its products
/// would take longer than the products.
pub(crate) struct Widened {
    isa: Isa,
    columns: usize,
    scratch: Buffer,
}

impl Widened {
    /// Scratch for at most `rows` rows of `columns` values, none if `T` is float32.
    pub fn new<T: Stored>(isa: Isa, rows: usize, columns: usize) -> Self {
        let values = match T::as_float32(&[]) {
            Some(_) => 0,
            None => rows * isa.padded(columns),
        };
        let scratch = Buffer::any(values);
        Self {
            isa,
            columns,
            scratch,
        }
    }

    /// The first `rows` rows of `x` in float32.
    pub fn rows<'a, T: Stored>(&'a mut self, x: Rows<'a, T>, rows: usize) -> Rows<'a> {
        if let Some(data) = T::as_float32(x.data) {
            return Rows::new(data, x.stride);
        }
        let stride = self.isa.padded(self.columns);
        self.isa.run(Copy {
            rows,
            columns: self.columns,
            x,
            out: &mut self.scratch,
            out_stride: stride,
        });
        Rows::new(&self.scratch, stride)
    }
}

/// Copies rows, and widens or rounds if they are stored as another type.
pub(crate) struct Copy<'a, T, U> {
    pub rows: usize,
    pub columns: usize,
    pub x: Rows<'a, T>,
    pub out: &'a mut [U],
    pub out_stride: usize,
}

impl<T: Stored, U: Stored> Kernel for Copy<'_, T, U> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows,
            columns,
            out_stride,
            ..
        } = self;
        self.x.check(rows, columns);
        assert!(rows == 0 || self.out.len() >= (rows - 1) * out_stride + columns);
        for row in 0..rows {
            for column in (0..columns).step_by(S::LANES) {
                let n = columns - column;
                // SAFETY: rows and columns within what was asserted; the last vector is cut to `n`.
                unsafe {
                    let from = self.x.data.as_ptr().add(row * self.x.stride + column);
                    let to = self.out.as_mut_ptr().add(row * out_stride + column);
                    U::store_first(s, to, n, T::load_first(s, from, n));
                }
            }
        }
    }
}

/// Rows taken together, so that a column's vectors are loaded once for all of them.
pub(super) const GROUP: usize = 16;

/// `out = relu(scale * y + shift)`, plus `residual` if given. `scale` and `shift` are whole vectors.
pub(crate) struct NormRelu<'a, T> {
    pub rows: usize,
    pub columns: usize,
    pub y: Rows<'a, T>,
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub residual: Option<Rows<'a, T>>,
    pub out: &'a mut [T],
    pub out_stride: usize,
}

impl<T: Stored> Kernel for NormRelu<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows,
            columns,
            out_stride,
            ..
        } = self;
        self.y.check(rows, columns);
        let padded = columns.next_multiple_of(S::LANES);
        assert!(self.scale.len() >= padded && self.shift.len() >= padded);
        assert!(rows == 0 || self.out.len() >= (rows - 1) * out_stride + columns);
        if let Some(residual) = self.residual {
            residual.check(rows, columns);
        }
        let zero = s.splat(0.0);
        for first in (0..rows).step_by(GROUP) {
            for column in (0..columns).step_by(S::LANES) {
                let n = columns - column;
                // SAFETY: rows and columns within what was asserted; the last vector is cut to `n`.
                unsafe {
                    let scale = s.load(self.scale.as_ptr().add(column));
                    let shift = s.load(self.shift.as_ptr().add(column));
                    for row in first..rows.min(first + GROUP) {
                        let y = self.y.data.as_ptr().add(row * self.y.stride + column);
                        let y = T::load_first(s, y, n);
                        let mut z = s.max(zero, s.mul_add(y, scale, shift));
                        if let Some(residual) = self.residual {
                            let at = residual.data.as_ptr().add(row * residual.stride + column);
                            z = s.add(z, T::load_first(s, at, n));
                        }
                        let to = self.out.as_mut_ptr().add(row * out_stride + column);
                        T::store_first(s, to, n, z);
                    }
                }
            }
        }
    }
}

/// `out = mean over rows of relu(scale * y + shift)`. `scale` and `shift` are whole vectors.
pub(crate) struct NormReluMean<'a, T> {
    pub rows: usize,
    pub columns: usize,
    pub y: Rows<'a, T>,
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub out: &'a mut [f32],
}

impl<T: Stored> Kernel for NormReluMean<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, columns, .. } = self;
        self.y.check(rows, columns);
        let padded = columns.next_multiple_of(S::LANES);
        assert!(self.scale.len() >= padded && self.shift.len() >= padded);
        assert!(self.out.len() >= columns);
        let (zero, share) = (s.splat(0.0), s.splat(1.0 / rows as f32));
        for column in (0..columns).step_by(S::LANES) {
            let n = columns - column;
            // SAFETY: rows and columns within what was asserted; the last vector is cut to `n`.
            unsafe {
                let scale = s.load(self.scale.as_ptr().add(column));
                let shift = s.load(self.shift.as_ptr().add(column));
                let mut sum = zero;
                for row in 0..rows {
                    let y = self.y.data.as_ptr().add(row * self.y.stride + column);
                    let y = T::load_first(s, y, n);
                    sum = s.add(sum, s.max(zero, s.mul_add(y, scale, shift)));
                }
                let mean = s.mul_add(sum, share, zero);
                s.store_first(self.out.as_mut_ptr().add(column), n, mean);
            }
        }
    }
}

/// The gradient of a ReLU after batch norm: `out = g` where `scale * y + shift > 0`, else 0.
pub(crate) struct ReluGradient<'a, G, T> {
    pub rows: usize,
    pub columns: usize,
    pub g: Rows<'a, G>,
    pub y: Rows<'a, T>,
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub out: &'a mut [T],
    pub out_stride: usize,
}

impl<G: Stored, T: Stored> Kernel for ReluGradient<'_, G, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows,
            columns,
            out_stride,
            ..
        } = self;
        self.g.check(rows, columns);
        self.y.check(rows, columns);
        let padded = columns.next_multiple_of(S::LANES);
        assert!(self.scale.len() >= padded && self.shift.len() >= padded);
        assert!(rows == 0 || self.out.len() >= (rows - 1) * out_stride + columns);
        for first in (0..rows).step_by(GROUP) {
            for column in (0..columns).step_by(S::LANES) {
                let n = columns - column;
                // SAFETY: rows and columns within what was asserted; the last vector is cut to `n`.
                unsafe {
                    let scale = s.load(self.scale.as_ptr().add(column));
                    let shift = s.load(self.shift.as_ptr().add(column));
                    for row in first..rows.min(first + GROUP) {
                        let y = self.y.data.as_ptr().add(row * self.y.stride + column);
                        let g = self.g.data.as_ptr().add(row * self.g.stride + column);
                        let z = s.mul_add(T::load_first(s, y, n), scale, shift);
                        let g = s.where_positive(z, G::load_first(s, g, n));
                        let to = self.out.as_mut_ptr().add(row * out_stride + column);
                        T::store_first(s, to, n, g);
                    }
                }
            }
        }
    }
}

/// Batch norm's backward, row by row: `out = a * g + b * (y - mean) + c`. The four vectors are whole,
/// and so are the rows of `out`. The padding of `out` has the values of zeros with the vectors' padding.
pub(crate) struct NormGradient<'a, T, U> {
    pub rows: usize,
    pub columns: usize,
    pub g: Rows<'a, T>,
    pub y: Rows<'a, T>,
    pub mean: &'a [f32],
    pub factors: [&'a [f32]; 3],
    pub out: &'a mut [U],
    pub out_stride: usize,
}

impl<T: Stored, U: Stored> Kernel for NormGradient<'_, T, U> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            rows,
            columns,
            out_stride,
            factors: [a, b, c],
            ..
        } = self;
        self.g.check(rows, columns);
        self.y.check(rows, columns);
        let padded = columns.next_multiple_of(S::LANES);
        assert!(
            [a, b, c, self.mean]
                .iter()
                .all(|vector| vector.len() >= padded)
        );
        assert!(rows == 0 || self.out.len() >= (rows - 1) * out_stride + padded);
        for first in (0..rows).step_by(GROUP) {
            for column in (0..columns).step_by(S::LANES) {
                let n = columns - column;
                // SAFETY: rows and columns are within what was asserted; only `out` has whole vectors.
                unsafe {
                    let mean = s.load(self.mean.as_ptr().add(column));
                    let a = s.load(a.as_ptr().add(column));
                    let b = s.load(b.as_ptr().add(column));
                    let c = s.load(c.as_ptr().add(column));
                    for row in first..rows.min(first + GROUP) {
                        let y = self.y.data.as_ptr().add(row * self.y.stride + column);
                        let g = self.g.data.as_ptr().add(row * self.g.stride + column);
                        let dy = s.mul_add(s.sub(T::load_first(s, y, n), mean), b, c);
                        let dy = s.mul_add(T::load_first(s, g, n), a, dy);
                        let to = self.out.as_mut_ptr().add(row * out_stride + column);
                        U::store_first(s, to, S::LANES, dy);
                    }
                }
            }
        }
    }
}
