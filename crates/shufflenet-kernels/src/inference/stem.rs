//! The stem of inference: a dense 3x3 convolution, ReLU and, optionally, max pooling.
//!
//! An image stays in its order, channel by channel, and gets a border of zeros. The terms of an
//! output's sum have the same distances from the window's corner for every window. So the convolution
//! is a matrix product whose rows overlap.

use super::place::Place;
use super::product::Product;
use super::site::{Band, Site};
use super::weights::Weights;
use super::{Folded, Parts};
use crate::kernels::max_pool::pooled;
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Simd};

pub(super) struct Stem {
    channels: usize,
    stride: usize,
    /// Padding of the pooling; `None` if the stem has no pooling.
    pool: Option<usize>,
    weights: Weights,
}

/// Images with their border, and the positions of a window's terms.
pub(super) struct Bordered {
    values: Buffer,
    terms: Vec<u32>,
    /// Values of an image. `line` is the number of values of a line of one channel.
    image: usize,
    line: usize,
    /// Height of the convolution's output. `width` is its width.
    height: usize,
    width: usize,
}

impl Stem {
    pub fn new(isa: Isa, parts: &Parts<Folded>) -> Self {
        assert_eq!(
            parts.stem.inputs(),
            9 * parts.input_channels,
            "terms of the stem"
        );
        let terms: Vec<usize> = (0..parts.stem.inputs()).collect();
        Self {
            channels: parts.input_channels,
            stride: parts.stem_stride,
            pool: parts.pool,
            weights: Weights::new(isa, &parts.stem, &terms),
        }
    }

    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.weights.outputs()
    }

    /// Number of values of an output row, padded to whole vectors.
    pub fn row(&self) -> usize {
        self.weights.padded()
    }

    /// Number of channels of an image.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Size of the output's map for images of `height` by `width`. Panics if the images are too small.
    pub fn site(&self, images: usize, [height, width]: [usize; 2]) -> Site {
        let out = |size: usize| {
            let size = size.div_ceil(self.stride);
            match self.pool {
                Some(padding) => {
                    assert!(size + 2 * padding >= 3, "images too small for the stem");
                    pooled(size, padding)
                }
                None => size,
            }
        };
        Site {
            images,
            height: out(height),
            width: out(width),
        }
    }

    /// Copies `images` and adds their border, in as many parallel parts as there are `bands`.
    pub fn bordered(&self, images: &[f32], [height, width]: [usize; 2], bands: usize) -> Bordered {
        let line = width + 2;
        let plane = (height + 2) * line;
        let lines = images.len() / (height * width) * (height + 2);
        let mut values = Buffer::any(lines * line);
        let share = lines.div_ceil(bands).max(1);
        team::map(values.chunks_mut(share * line), |band, to| {
            for (i, to) in to.chunks_exact_mut(line).enumerate() {
                let i = band * share + i;
                match (i / (height + 2), i % (height + 2)) {
                    (plane, y) if (1..=height).contains(&y) => {
                        let from = &images[(plane * height + y - 1) * width..][..width];
                        to[0] = 0.0;
                        to[1..=width].copy_from_slice(from);
                        to[width + 1] = 0.0;
                    }
                    _ => to.fill(0.0),
                }
            }
        });
        let window =
            |channel: usize| (0..9).map(move |t| (channel * plane + t / 3 * line + t % 3) as u32);
        Bordered {
            values,
            terms: (0..self.channels).flat_map(window).collect(),
            image: self.channels * plane,
            line,
            height: height.div_ceil(self.stride),
            width: width.div_ceil(self.stride),
        }
    }

    /// Computes the stem's output for a band of whole lines of `site` into the band's rows.
    pub fn run<T: Stored>(&self, isa: Isa, images: &Bordered, site: Site, band: &mut Band<T>) {
        let row = band.row;
        let Some(padding) = self.pool else {
            let lines = band.rows.chunks_exact_mut(site.width * row);
            for (line, out) in (band.pixels.start / site.width..).zip(lines) {
                let (image, y) = (line / site.height, line % site.height);
                self.convolve(isa, images, image, y, out);
            }
            return;
        };
        // Three lines of the convolution at a time, in float32, because they stay in the cache: line `y` in slot
        // `y % 3`, with zeros around them: after a ReLU, zero is never the larger value. (NaN may be lost here.)
        let ring_line = (images.width + 2 * padding) * row;
        let mut ring = Buffer::zeros(3 * ring_line);
        let mut held = [None; 3];
        let lines = band.rows.chunks_exact_mut(site.width * row);
        for (line, out) in (band.pixels.start / site.width..).zip(lines) {
            let (image, first) = (line / site.height, line % site.height * 2);
            let wanted = [0, 1, 2].map(|i| (first + i).checked_sub(padding));
            for y in wanted.into_iter().flatten().filter(|&y| y < images.height) {
                if held[y % 3] != Some((image, y)) {
                    let inside = y % 3 * ring_line + padding * row;
                    let line = &mut ring[inside..][..images.width * row];
                    self.convolve(isa, images, image, y, line);
                    held[y % 3] = Some((image, y));
                }
            }
            let inside = wanted.into_iter().flatten().filter(|&y| y < images.height);
            let lines: Vec<&[f32]> = inside
                .map(|y| &ring[y % 3 * ring_line..][..ring_line])
                .collect();
            isa.run(Pool { lines, row, out });
        }
    }

    /// Computes line `y` of the convolution.
    fn convolve(
        &self,
        isa: Isa,
        images: &Bordered,
        image: usize,
        y: usize,
        out: &mut [impl Stored],
    ) {
        let corner = image * images.image + self.stride * y * images.line;
        isa.run(Product {
            rows: images.width,
            left: &images.values[corner..],
            left_row: self.stride,
            terms: &images.terms,
            weights: &self.weights,
            panels: self.weights.all(),
            relu: true,
            out,
            out_start: 0,
            place: Place::rows(self.row(), 0),
            first: 0,
        });
    }
}

/// Maxima over all lines and over windows of three pixels, with stride 2.
struct Pool<'a, T> {
    lines: Vec<&'a [f32]>,
    /// Values of a pixel, whole vectors.
    row: usize,
    out: &'a mut [T],
}

impl<T: Stored> Kernel for Pool<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { lines, row, out } = self;
        let pixels = out.len() / row;
        assert!(row.is_multiple_of(S::LANES) && !lines.is_empty());
        assert!(
            lines
                .iter()
                .all(|line| line.len() >= (2 * pixels + 1) * row)
        );
        for (pixel, out) in out.chunks_exact_mut(row).enumerate() {
            for column in (0..row).step_by(S::LANES) {
                // SAFETY: three pixels from `2 pixel` on are within each line, as asserted; a row
                // is whole vectors.
                unsafe {
                    let mut most = s.splat(0.0);
                    for line in &lines {
                        let from = line.as_ptr().add(2 * pixel * row + column);
                        for u in 0..3 {
                            most = s.max(most, s.load(from.add(u * row)));
                        }
                    }
                    T::store_first(s, out.as_mut_ptr().add(column), S::LANES, most);
                }
            }
        }
    }
}
