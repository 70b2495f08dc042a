//! The depthwise 3x3 convolution of inference, with its bias: from bordered maps to rows.

use std::ops::Range;

use super::folded::Folded;
use crate::kernels::depthwise::{STRIP, taps, window};
use crate::kernels::map::MapShape;
use crate::kernels::packing;
use crate::kernels::rows::{Copy, Rows};
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Simd};

/// Packed weights.
pub(super) struct Taps {
    /// `[9][channels]`, whole vectors.
    values: Buffer,
    bias: Buffer,
    pub stride: usize,
}

impl Taps {
    pub fn new(isa: Isa, layer: &Folded, stride: usize) -> Self {
        Self {
            values: packing::taps(isa, &layer.weight),
            bias: packing::padded(isa, &layer.bias, layer.outputs()),
            stride,
        }
    }

    /// Number of channels, padded to whole vectors.
    pub fn channels(&self) -> usize {
        self.bias.len()
    }

    /// The values of maps that some pixels of the output are computed from: whole lines.
    pub fn reads(&self, shape: MapShape, pixels: &Range<usize>) -> Range<usize> {
        let size = [shape.height, shape.width].map(|size| size.div_ceil(self.stride));
        let line = |pixel: usize| {
            let (image, y) = (pixel / (size[0] * size[1]), pixel / size[1] % size[0]);
            image * shape.len() + self.stride * y * shape.row()
        };
        line(pixels.start)..line(pixels.end - 1) + 3 * shape.row()
    }
}

/// Computes some of the output's pixels, counted over all images, and writes one row each to `out`. Maps in bfloat16 are
/// widened first, the lines that are read: a value belongs to nine windows.
pub(super) fn depthwise<T: Stored, U: Stored>(
    isa: Isa,
    taps: &Taps,
    (maps, shape): (&[T], MapShape),
    pixels: &Range<usize>,
    out: &mut [U],
) {
    let reads = taps.reads(shape, pixels);
    let lines = &maps[reads.clone()];
    let mut widened;
    let maps = match T::as_float32(lines) {
        Some(maps) => maps,
        None => {
            widened = Buffer::any(lines.len());
            isa.run(Copy {
                rows: 1,
                columns: lines.len(),
                x: Rows::new(lines, lines.len()),
                out: &mut widened,
                out_stride: lines.len(),
            });
            &widened
        }
    };
    isa.run(Depthwise {
        shape,
        maps,
        start: reads.start,
        taps,
        pixels: pixels.clone(),
        out,
    });
}

/// The convolution of maps in float32.
struct Depthwise<'a, U> {
    shape: MapShape,
    /// The maps, from their value `start` on.
    maps: &'a [f32],
    start: usize,
    taps: &'a Taps,
    pixels: Range<usize>,
    out: &'a mut [U],
}

impl<U: Stored> Kernel for Depthwise<'_, U> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.taps.stride {
            1 => self.strided::<S, 1>(s),
            _ => self.strided::<S, 2>(s),
        }
    }
}

impl<U: Stored> Depthwise<'_, U> {
    #[inline(always)]
    fn strided<S: Simd, const STRIDE: usize>(self, s: S) {
        let Self {
            shape,
            maps,
            start,
            taps: packed,
            pixels,
            out,
        } = self;
        let Taps { values, bias, .. } = packed;
        let channels = shape.channels;
        let (height, width) = (shape.height.div_ceil(STRIDE), shape.width.div_ceil(STRIDE));
        assert!(shape.before == 1 && shape.after == 1 && channels.is_multiple_of(S::LANES));
        assert!(values.len() >= 9 * channels && bias.len() >= channels && !pixels.is_empty());
        let reads = packed.reads(shape, &pixels);
        assert!(start <= reads.start && reads.end - start <= maps.len());
        assert!(out.len() >= pixels.len() * channels);
        for column in (0..channels).step_by(S::LANES) {
            // SAFETY: the assertions; every window is within the lines that `reads` has for its pixel.
            unsafe {
                let weight = taps(s, values, channels, column, false);
                let bias = s.load(bias.as_ptr().add(column));
                let mut pixel = pixels.start;
                while pixel < pixels.end {
                    let (image, y) = (pixel / (height * width), pixel / width % height);
                    let (mut x, begin) = (pixel % width, pixel);
                    let end = width.min(x + pixels.end - pixel);
                    let line = image * shape.len() + STRIDE * y * shape.row() + column;
                    let line = maps.as_ptr().add(line - start);
                    let out = out.as_mut_ptr().add(column);
                    let out = out.add((begin - pixels.start) * channels);
                    let start = x;
                    while x + STRIP <= end {
                        let from = line.add(STRIDE * x * channels);
                        let sums = window::<S, STRIDE, STRIP>(s, from, &shape, &weight);
                        let to = out.add((x - start) * channels);
                        put(s, sums, bias, to, channels);
                        x += STRIP;
                    }
                    let from = line.add(STRIDE * x * channels);
                    let to = out.add((x - start) * channels);
                    match end - x {
                        1 => {
                            let sums = window::<S, STRIDE, 1>(s, from, &shape, &weight);
                            put(s, sums, bias, to, channels);
                        }
                        2 => {
                            let sums = window::<S, STRIDE, 2>(s, from, &shape, &weight);
                            put(s, sums, bias, to, channels);
                        }
                        3 => {
                            let sums = window::<S, STRIDE, 3>(s, from, &shape, &weight);
                            put(s, sums, bias, to, channels);
                        }
                        _ => {}
                    }
                    pixel += end - start;
                }
            }
        }
    }
}

/// Stores the sums of neighbouring pixels, the first at `to`, with `bias` added.
///
/// # Safety
/// A vector is writable at each of `N` pixels of `channels` values from `to` on.
#[inline(always)]
unsafe fn put<S: Simd, U: Stored, const N: usize>(
    s: S,
    sums: [S::Vector; N],
    bias: S::Vector,
    to: *mut U,
    channels: usize,
) {
    for (o, sum) in sums.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { U::store_first(s, to.add(o * channels), S::LANES, s.add(sum, bias)) }
    }
}
