//! The depthwise 3x3 convolution of inference, with its bias: from bordered maps to rows.

use std::ops::Range;

use super::weights::Folded;
use crate::kernels::depthwise::{STRIP, taps, window};
use crate::kernels::map::MapShape;
use crate::kernels::packing;
use crate::runtime::buffer::Buffer;
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
}

/// Computes some of the output's pixels, counted over all images, and writes one row each to `out`.
pub(super) struct Depthwise<'a> {
    pub shape: MapShape,
    pub maps: &'a [f32],
    pub taps: &'a Taps,
    pub pixels: Range<usize>,
    pub out: &'a mut [f32],
}

impl Kernel for Depthwise<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.taps.stride {
            1 => self.strided::<S, 1>(s),
            _ => self.strided::<S, 2>(s),
        }
    }
}

impl Depthwise<'_> {
    #[inline(always)]
    fn strided<S: Simd, const STRIDE: usize>(self, s: S) {
        let Self {
            shape,
            maps,
            taps: Taps { values, bias, .. },
            pixels,
            out,
        } = self;
        let channels = shape.channels;
        let (height, width) = (shape.height.div_ceil(STRIDE), shape.width.div_ceil(STRIDE));
        assert!(shape.before == 1 && shape.after == 1 && channels.is_multiple_of(S::LANES));
        assert!(values.len() >= 9 * channels && bias.len() >= channels && !pixels.is_empty());
        assert!(maps.len() >= ((pixels.end - 1) / (height * width) + 1) * shape.len());
        assert!(out.len() >= pixels.len() * channels);
        for column in (0..channels).step_by(S::LANES) {
            // SAFETY: the assertions; every window is within its image's map and border.
            unsafe {
                let weight = taps(s, values, channels, column, false);
                let bias = s.load(bias.as_ptr().add(column));
                let mut pixel = pixels.start;
                while pixel < pixels.end {
                    let (image, y) = (pixel / (height * width), pixel / width % height);
                    let (mut x, begin) = (pixel % width, pixel);
                    let end = width.min(x + pixels.end - pixel);
                    let line = image * shape.len() + STRIDE * y * shape.row() + column;
                    let line = maps.as_ptr().add(line);
                    let out = out.as_mut_ptr().add(column);
                    let out = out.add((begin - pixels.start) * channels);
                    let start = x;
                    while x + STRIP <= end {
                        let from = line.add(STRIDE * x * channels);
                        let sums = window::<S, STRIDE, STRIP>(s, from, &shape, &weight);
                        for (o, sum) in sums.into_iter().enumerate() {
                            s.store(out.add((x - start + o) * channels), s.add(sum, bias));
                        }
                        x += STRIP;
                    }
                    while x < end {
                        let from = line.add(STRIDE * x * channels);
                        let [sum] = window::<S, STRIDE, 1>(s, from, &shape, &weight);
                        s.store(out.add((x - start) * channels), s.add(sum, bias));
                        x += 1;
                    }
                    pixel += end - start;
                }
            }
        }
    }
}
