//! The stem in training, forward: dense 3x3 convolution, batch norm, ReLU and, optionally, max pooling.
//!
//! ```text
//! y = windows(images) W',    out = pool(relu(norm(y)))
//! ```
//!
//! A row of `windows` is the 3x3 neighbourhood of a pixel, `[9][channels]` values. With three colours,
//! writing the windows costs less than computing the convolution without them. The forward keeps `y` and
//! the position of each maximum (a number below 9, which every stored type holds) for the backward (`stem_backward.rs`).

use crate::kernels::map::{Fill, FillMap, MapShape};
use crate::kernels::matmul::Matmul;
use crate::kernels::max_pool::{MaxPool, pooled};
use crate::kernels::packing::{self, ConvNorm};
use crate::kernels::prefetch::Ahead;
use crate::kernels::rows::{NormRelu, Rows};
use crate::kernels::windows::Windows;
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::Isa;
use crate::simd::stored::Stored;
use crate::training::geometry::Geometry;
use crate::training::moments::Moments;
use crate::training::norm::Norm;
use crate::training::pointwise::Normed;

/// The stem of one network on one batch.
#[derive(Clone, Copy)]
pub struct Stem<'a> {
    /// Sizes and stride of the convolution.
    pub at: Geometry,
    /// Channels of the images.
    pub channels: usize,
    /// `[outputs][channels][9]`.
    pub conv: ConvNorm<'a>,
    /// Padding of the pooling; `None` if the stem has no pooling.
    pub pool: Option<usize>,
}

/// What the backward needs.
pub struct Saved<T: Stored> {
    /// The convolution's output and its norm.
    pub normed: Normed<T>,
    /// Position of each maximum, if the stem has pooling.
    pub places: Option<Buffer<T>>,
}

impl Stem<'_> {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        let size = self.at.output();
        self.pool
            .map_or(size, |padding| size.map(|size| pooled(size, padding)))
    }

    /// Computes the output's rows from images, `[batch][channels][height][width]`.
    pub(crate) fn forward<T: Stored>(&self, images: &[f32], epsilon: f64) -> (Buffer<T>, Saved<T>) {
        let normed = self.convolve(images, epsilon);
        let (at, columns) = (self.at, self.conv.outputs());
        let isa = at.isa;
        let Normed { y, norm } = &normed;
        let image_in = at.pixels_out() * columns;
        let Some(padding) = self.pool else {
            let mut out = Buffer::any(y.len());
            team::map(out.chunks_mut(at.part * image_in), |part, out| {
                let y = Rows::new(&y[part * at.part * image_in..], columns);
                let (rows, scale, shift) = (out.len() / columns, &norm.scale, &norm.shift);
                isa.run(NormRelu {
                    rows,
                    columns,
                    y,
                    scale,
                    shift,
                    residual: None,
                    out,
                    out_stride: columns,
                });
            });
            return (
                out,
                Saved {
                    normed,
                    places: None,
                },
            );
        };
        let [height, width] = self.output();
        let image_out = height * width * columns;
        let shape = self.pool_map(padding);
        let mut out = Buffer::any(at.images * image_out);
        let mut places = Buffer::any(out.len());
        let parts = out
            .chunks_mut(at.part * image_out)
            .zip(places.chunks_mut(at.part * image_out));
        team::map(parts, |part, (out, places)| {
            let mut map = Buffer::any(shape.len());
            shape.clear_border(&mut map);
            let images = out
                .chunks_exact_mut(image_out)
                .zip(places.chunks_exact_mut(image_out));
            for (i, (out, places)) in images.enumerate() {
                let y = Rows::new(&y[(part * at.part + i) * image_in..], columns);
                let fill = Fill::NormRelu {
                    scale: &norm.scale,
                    shift: &norm.shift,
                };
                isa.run(FillMap {
                    shape,
                    columns,
                    y,
                    fill,
                    map: &mut map,
                });
                isa.run(MaxPool {
                    shape,
                    columns,
                    map: &map,
                    out,
                    places,
                });
            }
        });
        (
            out,
            Saved {
                normed,
                places: Some(places),
            },
        )
    }

    fn convolve<T: Stored>(&self, images: &[f32], epsilon: f64) -> Normed<T> {
        let (at, columns, inner) = (self.at, self.conv.outputs(), 9 * self.channels);
        let isa = at.isa;
        let weight = packing::transposed(isa, &self.weight_by_window(), inner, None);
        let image = at.pixels_out() * columns;
        let mut y = Buffer::any(at.images * image);
        let moments: Vec<Moments> = team::map(y.chunks_mut(at.part * image), |part, y| {
            let mut moments = Moments::new(isa, columns);
            let begin = part * at.part * at.pixels_out();
            self.windows(images, part, |first, rows, windows| {
                let out = &mut y[(first - begin) * columns..][..rows * columns];
                isa.run(Matmul {
                    rows,
                    inner,
                    columns,
                    left: windows,
                    left_strides: [inner, 1],
                    right: &weight,
                    right_row: isa.padded(columns),
                    out,
                    out_row: columns,
                    accumulate: false,
                    ahead: Ahead::NONE,
                });
                moments.add(isa, rows, Rows::new(out, columns));
            });
            moments
        });
        let norm = Norm::of_batch(isa, &moments, self.conv, epsilon);
        Normed { y, norm }
    }

    /// Shape of the pooling's map of one image.
    pub(crate) fn pool_map(&self, padding: usize) -> MapShape {
        let [height, width] = self.at.output();
        let channels = self.at.isa.padded(self.conv.outputs());
        MapShape {
            height,
            width,
            channels,
            before: padding,
            after: padding,
        }
    }

    /// Most pixels of a block of windows. A block is some rows of one image.
    pub(crate) fn block_pixels(&self) -> usize {
        let [height, width] = self.at.output();
        (480 / width).clamp(1, height) * width
    }

    /// Calls `with(first pixel of the batch, pixels, windows)` for every block of one part's images.
    pub(crate) fn windows(
        &self,
        images: &[f32],
        part: usize,
        mut with: impl FnMut(usize, usize, &[f32]),
    ) {
        let (at, channels) = (self.at, self.channels);
        let plane = at.pixels_in();
        let row = (at.width + 2) * channels;
        let mut map = Buffer::zeros((at.height + 2) * row);
        let mut windows = Buffer::any(self.block_pixels() * 9 * channels);
        let [height, width] = at.output();
        let step = self.block_pixels() / width;
        for number in part * at.part..at.images.min((part + 1) * at.part) {
            let image = &images[number * channels * plane..][..channels * plane];
            for (c, plane) in image.chunks_exact(plane).enumerate() {
                for (y, line) in plane.chunks_exact(at.width).enumerate() {
                    let start = (y + 1) * row + channels + c;
                    let pixels = map[start..].iter_mut().step_by(channels);
                    pixels.zip(line).for_each(|(pixel, value)| *pixel = *value);
                }
            }
            for first in (0..height).step_by(step) {
                let rows = step.min(height - first);
                let out = &mut windows[..rows * width * 9 * channels];
                at.isa.run(Windows {
                    map: &map,
                    row,
                    channels,
                    stride: at.stride,
                    first,
                    rows,
                    width,
                    out,
                });
                with(number * at.pixels_out() + first * width, rows * width, out);
            }
        }
    }

    /// `[outputs][channels][9]` to `[outputs][9][channels]`, the order of a window.
    fn weight_by_window(&self) -> Vec<f32> {
        reordered(self.conv.weight, self.channels, 9)
    }

    /// The inverse of [`Self::weight_by_window`].
    pub(crate) fn weight_by_channel(self, weight: &[f32]) -> Buffer {
        let mut buffer = Buffer::any(weight.len());
        buffer.copy_from_slice(&reordered(weight, 9, self.channels));
        buffer
    }
}

/// `[n][a][b]` to `[n][b][a]`.
fn reordered(weight: &[f32], a: usize, b: usize) -> Vec<f32> {
    let transpose =
        |block: &[f32]| -> Vec<f32> { (0..a * b).map(|i| block[i % a * b + i / a]).collect() };
    weight.chunks_exact(a * b).flat_map(transpose).collect()
}

/// Sizes and parts of the stem. Its weights are few, so the threads share the images.
pub fn geometry(isa: Isa, sizes: [usize; 3], stride: usize) -> Geometry {
    Geometry::new(isa, sizes, stride, 1)
}
