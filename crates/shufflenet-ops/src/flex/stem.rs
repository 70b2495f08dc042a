//! The stem in training: dense 3x3 convolution, batch norm, ReLU and, mostly, max pooling.
//!
//! ```text
//! y = windows(images) W',    out = pool(relu(norm(y)))
//! ```
//!
//! where a row of `windows` is the 3x3 neighbourhood of a pixel, `[9][channels]` values: with three
//! colours it is cheaper to write out than a convolution without it is to compute. Kept for the
//! backward: `y`, and where each maximum was. Images need no gradient, and get none.

use super::geometry::Geometry;
use super::map::{Fill, FillMap, MapShape};
use super::matmul::Matmul;
use super::norm::{GradientMoments, Moments, Norm};
use super::pointwise::{ConvNormGradient, Normed};
use super::pool::Buffer;
use super::pooling::{MaxPool, MaxPoolGradient, pooled};
use super::rows::{NormGradient, NormRelu, ReluGradient, Rows};
use super::simd::Isa;
use super::weights::{self, ConvNorm};
use super::windows::Windows;
use crate::team;

/// The stem of one network on one batch.
#[derive(Clone, Copy)]
pub(crate) struct Stem<'a> {
    /// Sizes and stride of the convolution.
    pub at: Geometry,
    /// Channels of the images.
    pub channels: usize,
    /// `[outputs][channels][9]`.
    pub conv: ConvNorm<'a>,
    /// Padding of the pooling, where there is one.
    pub pool: Option<usize>,
}

/// What the backward needs.
pub(crate) struct Saved {
    pub normed: Normed,
    /// Where each maximum was, where there is pooling.
    places: Option<Buffer>,
}

impl Stem<'_> {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        let size = self.at.output();
        self.pool
            .map_or(size, |padding| size.map(|size| pooled(size, padding)))
    }

    /// Rows of the output from images, `[batch][channels][height][width]`.
    pub fn forward(&self, images: &[f32], epsilon: f64) -> (Buffer, Saved) {
        let normed = self.convolve(images, epsilon);
        let (at, columns) = (self.at, self.conv.outputs());
        let isa = at.isa;
        let Normed { y, norm } = &normed;
        let image_in = at.pixels_out() * columns;
        let Some(padding) = self.pool else {
            let mut out = Buffer::any(y.len());
            team::map(out.chunks_mut(at.part * image_in), |part, out| {
                let y = Rows {
                    data: &y[part * at.part * image_in..],
                    stride: columns,
                };
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
                let y = Rows {
                    data: &y[(part * at.part + i) * image_in..],
                    stride: columns,
                };
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

    /// The convolution's output gradient from the stem's: only the images' own needs it whole.
    pub fn convolution_gradient(&self, saved: &Saved, dout: &[f32]) -> Buffer {
        let (g, sums) = self.unpool(saved, dout);
        let columns = self.conv.outputs();
        let Normed { y, norm } = &saved.normed;
        let backward = norm.backward(&sums);
        let [a, b, c] = &backward.factors;
        // One row at a time: rows of the result have no room for whole vectors.
        let mut row = Buffer::any(self.at.isa.padded(columns));
        let mut dy = Buffer::any(y.len());
        for (i, dy) in dy.chunks_exact_mut(columns).enumerate() {
            let rows_of = |data| Rows {
                data,
                stride: columns,
            };
            self.at.isa.run(NormGradient {
                rows: 1,
                columns,
                g: rows_of(&g[i * columns..]),
                y: rows_of(&y[i * columns..]),
                mean: &norm.mean,
                factors: [a, b, c],
                out_stride: row.len(),
                out: &mut row,
            });
            dy.copy_from_slice(&row[..columns]);
        }
        dy
    }

    /// The gradients of the convolution and its norm from the output's.
    pub fn backward(&self, images: &[f32], saved: &Saved, dout: &[f32]) -> ConvNormGradient {
        let (g, sums) = self.unpool(saved, dout);
        let (at, columns) = (self.at, self.conv.outputs());
        let isa = at.isa;
        let norm = saved.normed.norm.backward(&sums);
        let [a, b, c] = &norm.factors;
        let (inner, padded) = (9 * self.channels, isa.padded(columns));
        let parts = at.images.div_ceil(at.part);
        let products: Vec<Buffer> = team::map(0..parts, |_, part| {
            let mut product = Buffer::zeros(inner * padded);
            let mut dy = Buffer::any(self.block_pixels() * padded);
            self.windows(images, part, |first, rows, windows| {
                let from = first * columns;
                let rows_of = |data| Rows {
                    data,
                    stride: columns,
                };
                isa.run(NormGradient {
                    rows,
                    columns,
                    g: rows_of(&g[from..]),
                    y: rows_of(&saved.normed.y[from..]),
                    mean: &saved.normed.norm.mean,
                    factors: [a, b, c],
                    out: &mut dy,
                    out_stride: padded,
                });
                isa.run(Matmul {
                    rows: inner,
                    inner: rows,
                    columns,
                    left: windows,
                    left_strides: [1, inner],
                    right: &dy,
                    right_row: padded,
                    out: &mut product,
                    out_row: padded,
                    accumulate: true,
                    ahead: [&[]; 2],
                });
            });
            product
        });
        let weight = self.weight_by_channel(&weights::summed(&products, inner, columns, None));
        ConvNormGradient {
            weight,
            gamma: norm.gamma,
            beta: norm.beta,
        }
    }

    fn convolve(&self, images: &[f32], epsilon: f64) -> Normed {
        let (at, columns, inner) = (self.at, self.conv.outputs(), 9 * self.channels);
        let isa = at.isa;
        let weight = weights::transposed(isa, &self.weight_by_window(), inner, None);
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
                    ahead: [&[]; 2],
                });
                moments.add(
                    isa,
                    rows,
                    Rows {
                        data: out,
                        stride: columns,
                    },
                );
            });
            moments
        });
        let norm = Norm::of_batch(isa, &moments, self.conv, epsilon);
        Normed { y, norm }
    }

    /// The gradient before pooling and ReLU, with its two sums.
    fn unpool(&self, saved: &Saved, dout: &[f32]) -> (Buffer, [Vec<f64>; 2]) {
        let (at, columns) = (self.at, self.conv.outputs());
        let isa = at.isa;
        let Normed { y, norm } = &saved.normed;
        let image = at.pixels_out() * columns;
        let [height, width] = self.output();
        let image_out = height * width * columns;
        let mut g = Buffer::any(y.len());
        let moments: Vec<GradientMoments> = team::map(g.chunks_mut(at.part * image), |part, g| {
            let mut moments = GradientMoments::new(isa, columns);
            let pooling = self
                .pool
                .map(|padding| self.pool_map(padding))
                .zip(saved.places.as_ref());
            let mut map = Buffer::any(pooling.map_or(0, |(shape, _)| shape.len()));
            for (i, g) in g.chunks_exact_mut(image).enumerate() {
                let number = part * at.part + i;
                let y = Rows {
                    data: &y[number * image..],
                    stride: columns,
                };
                let dout = &dout[number * image_out..][..image_out];
                let (scale, shift, out_stride) = (&norm.scale, &norm.shift, columns);
                let relu = |rows, g, y, out| {
                    isa.run(ReluGradient {
                        rows,
                        columns,
                        g,
                        y,
                        scale,
                        shift,
                        out,
                        out_stride,
                    });
                };
                match pooling {
                    None => relu(
                        at.pixels_out(),
                        Rows {
                            data: dout,
                            stride: columns,
                        },
                        y,
                        &mut *g,
                    ),
                    Some((shape, places)) => {
                        let places = &places[number * image_out..][..image_out];
                        map.fill(0.0);
                        isa.run(MaxPoolGradient {
                            shape,
                            columns,
                            dout,
                            places,
                            map: &mut map,
                        });
                        for (line, g) in g.chunks_exact_mut(shape.width * columns).enumerate() {
                            let from = Rows {
                                data: &map[shape.at(line, 0)..],
                                stride: shape.channels,
                            };
                            let y = Rows {
                                data: &y.data[line * shape.width * columns..],
                                stride: columns,
                            };
                            relu(shape.width, from, y, g);
                        }
                    }
                }
                moments.add(
                    isa,
                    at.pixels_out(),
                    Rows {
                        data: g,
                        stride: columns,
                    },
                    y,
                    norm,
                );
            }
            moments
        });
        (g, GradientMoments::merge(&moments))
    }

    /// The pooling's map of one image.
    fn pool_map(&self, padding: usize) -> MapShape {
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

    /// Most pixels of a block of windows: some rows of one image.
    fn block_pixels(&self) -> usize {
        let [height, width] = self.at.output();
        (480 / width).clamp(1, height) * width
    }

    /// Calls `with(first pixel of the batch, pixels, windows)` for every block of one part's images.
    fn windows(&self, images: &[f32], part: usize, mut with: impl FnMut(usize, usize, &[f32])) {
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
    fn weight_by_channel(self, weight: &[f32]) -> Buffer {
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

/// The stem's parts: its weights are few, so that images are what there is to share out.
pub(crate) fn geometry(isa: Isa, sizes: [usize; 3], stride: usize) -> Geometry {
    Geometry::new(isa, sizes, stride, 1)
}
