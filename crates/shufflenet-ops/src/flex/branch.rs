//! A transforming branch of a unit in training: 1x1, depthwise 3x3, 1x1, each with batch norm.
//!
//! With `x` the branch's input, rows being pixels, and `norm` and `relu` as in [`super::norm`]:
//!
//! ```text
//! y1 = x W1'                z = relu(norm1(y1))        (or z = x, in a branch without W1)
//! y2 = depthwise(z)
//! y3 = norm2(y2) W3'        out = relu(norm3(y3))
//! ```
//!
//! **Forward** in three passes over the batch, one per convolution: each applies the normalisation
//! before it while it reads, and gathers the statistics of what it has just written. `norm2` costs
//! nothing: no ReLU follows, so its scale goes into the rows of `W3'` and its shift, which `norm3`
//! would remove, is left out. `y1`, `y2` and `y3` are kept; everything else is computed again.
//!
//! **Backward**, from the gradient `g3` behind `norm3`, again three passes. With `dy3` from `g3` by
//! `norm3`'s backward, a block of rows at a time and used while hot:
//!
//! ```text
//! dh = dy3 W3,   P = y2' dy3,   dW3 = (scale2 P)',
//! sum(dh) = 0,   sum(dh y2) = rowwise sum(P W3'),      since sum(dy3) = 0
//! ```
//!
//! so that `norm2`'s backward needs no pass of its own; then per image the depthwise gradients, and
//! the first product's like the last's.

use super::depthwise::{Forward, InputGradient, WeightGradient};
use super::geometry::Geometry;
use super::map::{Fill, FillMap, MapShape};
use super::norm::{GradientMoments, Moments, Norm, NormBackward};
use super::pointwise::{self, Backward, ConvNormGradient, InputGradientOf, Normed};
use super::pool::Buffer;
use super::rows::Rows;
use super::separate::BranchGradient;
use super::weights::{self, ConvNorm};
use crate::team;

/// A branch's weights.
#[derive(Clone, Copy)]
pub(crate) struct Branch<'a> {
    /// The first 1x1 convolution, where there is one.
    pub pointwise1: Option<ConvNorm<'a>>,
    pub depthwise: ConvNorm<'a>,
    pub pointwise2: ConvNorm<'a>,
}

/// What the forward pass keeps for the backward.
pub(crate) struct Saved {
    pub pointwise1: Option<Normed>,
    pub depthwise: Normed,
    pub pointwise2: Normed,
}

/// Gradients of a branch's weights, in the order of the convolutions.
pub(crate) type Gradients = Vec<ConvNormGradient>;

impl<'a> Branch<'a> {
    /// The forward pass, see the [module](self). `x` starts at the branch's first input channel.
    pub fn forward(&self, at: Geometry, x: Rows, epsilon: f64) -> Saved {
        let isa = at.isa;
        let pointwise1 = self.pointwise1.map(|conv| {
            let weight = weights::transposed(isa, conv.weight, conv.inputs(), None);
            pointwise::forward(at, at.pixels_in(), x, conv, &weight, epsilon)
        });
        let depthwise = self.depthwise_forward(at, x, pointwise1.as_ref(), epsilon);
        let conv = self.pointwise2;
        let input = Rows {
            data: &depthwise.y,
            stride: conv.inputs(),
        };
        let scale = &depthwise.norm.scale;
        let weight = weights::transposed(isa, conv.weight, conv.inputs(), Some(scale));
        let pointwise2 = pointwise::forward(at, at.pixels_out(), input, conv, &weight, epsilon);
        Saved {
            pointwise1,
            depthwise,
            pointwise2,
        }
    }

    fn depthwise_forward(
        &self,
        at: Geometry,
        x: Rows,
        first: Option<&Normed>,
        epsilon: f64,
    ) -> Normed {
        let (isa, columns) = (at.isa, self.depthwise.outputs());
        let weight = weights::taps(isa, self.depthwise.weight);
        let shape = at.map(columns);
        let image = at.pixels_out() * columns;
        let mut y = Buffer::any(at.images * image);
        let moments: Vec<Moments> = team::map(y.chunks_mut(at.part * image), |part, y| {
            let mut map = Buffer::any(shape.len());
            shape.clear_border(&mut map);
            let mut moments = Moments::new(isa, columns);
            for (i, out) in y.chunks_exact_mut(image).enumerate() {
                fill_input(at, x, first, part * at.part + i, shape, columns, &mut map);
                let (map, weight, stride) = (&map[..], &weight[..], at.stride);
                isa.run(Forward {
                    shape,
                    columns,
                    stride,
                    map,
                    weight,
                    out,
                });
                let out = Rows {
                    data: out,
                    stride: columns,
                };
                moments.add(isa, at.pixels_out(), out);
            }
            moments
        });
        let norm = Norm::of_batch(isa, &moments, self.depthwise, epsilon);
        Normed { y, norm }
    }

    /// What `pointwise2`'s output lacks because `norm2`'s shift was left out: `W3 shift2`.
    fn left_out(&self, norm2: &Norm) -> Vec<f64> {
        let rows = self
            .pointwise2
            .weight
            .chunks_exact(self.pointwise2.inputs());
        let product = |row: &[f32]| {
            let terms = row
                .iter()
                .zip(&norm2.shift)
                .map(|(w, shift)| f64::from(w * shift));
            terms.sum::<f64>()
        };
        rows.map(product).collect()
    }

    /// Mean and unbiased variance of each batch norm, one after the other.
    pub fn statistics(&self, saved: &Saved) -> Vec<f32> {
        let first = saved
            .pointwise1
            .as_ref()
            .map(|first| first.norm.statistics());
        let mut statistics = first.unwrap_or_default();
        statistics.extend(saved.depthwise.norm.statistics());
        let last = &saved.pointwise2.norm;
        let left_out = self.left_out(&saved.depthwise.norm);
        let mean = last
            .batch_mean
            .iter()
            .zip(left_out)
            .map(|(mean, rest)| (mean + rest) as f32);
        statistics.extend(mean);
        statistics.extend(last.unbiased_variance());
        statistics
    }

    /// The backward pass, see the [module](self), from the gradient `g3` behind the last batch norm
    /// and its sums. `dx` starts at the branch's first input channel, with `dx_stride` from row to
    /// row; it is added to where `accumulate` says so, which a branch without `W1` does not offer.
    pub fn backward(
        &self,
        at: Geometry,
        x: Rows,
        saved: &Saved,
        g3: BranchGradient,
        dx: &mut InputGradientOf,
    ) -> Gradients {
        let isa = at.isa;
        let norm3 = saved.pointwise2.norm.backward(&g3.1);
        let (last, second) = (self.pointwise2, &saved.depthwise);
        let inputs = Rows {
            data: &second.y,
            stride: last.inputs(),
        };
        let weight = weights::padded(isa, last.weight, last.inputs());
        let mut dh = Buffer::any(second.y.len());
        let products = {
            let mut into = InputGradientOf {
                data: &mut dh,
                stride: last.inputs(),
                accumulate: false,
            };
            let g3 = Rows {
                data: &g3.0,
                stride: last.outputs(),
            };
            {
                let saved = &saved.pointwise2;
                let from = Backward {
                    conv: last,
                    weight: &weight,
                    saved,
                    norm: &norm3,
                    g: g3,
                };
                pointwise::backward(at, at.pixels_out(), inputs, from, &mut into)
            }
        };
        drop(g3.0);
        let product = weights::summed(&products, last.inputs(), last.outputs(), None);
        let norm2 = folded_norm_backward(&second.norm, &product, last);
        let scaled = scaled_columns(product, &second.norm.scale, last.inputs());
        let gradient3 = ConvNormGradient {
            weight: scaled,
            gamma: norm3.gamma,
            beta: norm3.beta,
        };

        let (g1, depthwise) = self.depthwise_backward(at, x, saved, &norm2, dh, dx);
        let gradient2 = ConvNormGradient {
            weight: depthwise,
            gamma: norm2.gamma,
            beta: norm2.beta,
        };
        let (Some(conv), Some(first), Some((g1, sums))) = (self.pointwise1, &saved.pointwise1, g1)
        else {
            return vec![gradient2, gradient3];
        };
        let norm1 = first.norm.backward(&sums);
        let weight = weights::padded(isa, conv.weight, conv.inputs());
        let g1 = Rows {
            data: &g1,
            stride: conv.outputs(),
        };
        let products = {
            let from = Backward {
                conv,
                weight: &weight,
                saved: first,
                norm: &norm1,
                g: g1,
            };
            pointwise::backward(at, at.pixels_in(), x, from, dx)
        };
        let weight = weights::summed(&products, conv.inputs(), conv.outputs(), None);
        let gradient1 = ConvNormGradient {
            weight,
            gamma: norm1.gamma,
            beta: norm1.beta,
        };
        vec![gradient1, gradient2, gradient3]
    }

    /// The depthwise weights' gradient and, behind `norm1`, its input's with the two sums; without a
    /// first convolution the input's gradient goes straight into `dx`.
    fn depthwise_backward(
        &self,
        at: Geometry,
        x: Rows,
        saved: &Saved,
        norm2: &NormBackward,
        dh: Buffer,
        dx: &mut InputGradientOf,
    ) -> (Option<BranchGradient>, Buffer) {
        let columns = self.depthwise.outputs();
        let first = saved.pointwise1.as_ref();
        let image = at.pixels_in() * columns;
        let mut g1 = first.map(|_| Buffer::any(at.images * image));
        let (out, stride) = match &mut g1 {
            Some(g1) => (&mut g1[..], columns),
            None => (&mut *dx.data, dx.stride),
        };
        let pass = DepthwiseBackward {
            at,
            x,
            saved,
            norm2,
            dh: &dh,
            columns,
        };
        let taps = weights::taps(at.isa, self.depthwise.weight);
        let parts: Vec<(Buffer, GradientMoments)> = team::map(
            out.chunks_mut(at.part * at.pixels_in() * stride),
            |part, out| pass.part(part, &taps, out, stride),
        );
        let (products, moments): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let weight = weights::summed(&products, 9, columns, None);
        (g1.map(|g1| (g1, GradientMoments::merge(&moments))), weight)
    }
}

/// Lays image `i` of the depthwise convolution's input into a map.
fn fill_input(
    at: Geometry,
    x: Rows,
    first: Option<&Normed>,
    i: usize,
    shape: MapShape,
    columns: usize,
    map: &mut [f32],
) {
    let (rows, fill) = match first {
        None => (x, Fill::Plain),
        Some(Normed { y, norm }) => {
            let fill = Fill::NormRelu {
                scale: &norm.scale,
                shift: &norm.shift,
            };
            (
                Rows {
                    data: y,
                    stride: columns,
                },
                fill,
            )
        }
    };
    let data = &rows.data[i * at.pixels_in() * rows.stride..];
    at.isa.run(FillMap {
        shape,
        columns,
        y: Rows { data, ..rows },
        fill,
        map,
    });
}

/// The pass over images of [`Branch::depthwise_backward`].
struct DepthwiseBackward<'a> {
    at: Geometry,
    x: Rows<'a>,
    saved: &'a Saved,
    norm2: &'a NormBackward,
    dh: &'a [f32],
    columns: usize,
}

impl DepthwiseBackward<'_> {
    fn part(
        &self,
        part: usize,
        taps: &[f32],
        out: &mut [f32],
        stride: usize,
    ) -> (Buffer, GradientMoments) {
        let Self { at, columns, .. } = *self;
        let isa = at.isa;
        let first = self.saved.pointwise1.as_ref();
        let second = &self.saved.depthwise;
        let (shape, dy_shape) = (at.map(columns), at.gradient_map(columns));
        let (mut map, mut dy) = (Buffer::any(shape.len()), Buffer::any(dy_shape.len()));
        shape.clear_border(&mut map);
        dy_shape.clear_border(&mut dy);
        let mut product = Buffer::zeros(9 * shape.channels);
        let mut moments = GradientMoments::new(isa, columns);
        let [a, b, c] = &self.norm2.factors;
        let image = at.pixels_in() * stride;
        for i in 0..out.len().div_ceil(image) {
            let number = part * at.part + i;
            fill_input(at, self.x, first, number, shape, columns, &mut map);
            let from = number * at.pixels_out() * columns;
            let y = Rows {
                data: &second.y[from..],
                stride: columns,
            };
            let g = Rows {
                data: &self.dh[from..],
                stride: columns,
            };
            let fill = Fill::NormGradient {
                g,
                mean: &second.norm.mean,
                factors: [a, b, c],
            };
            isa.run(FillMap {
                shape: dy_shape,
                columns,
                y,
                fill,
                map: &mut dy,
            });
            isa.run(WeightGradient {
                shape,
                stride: at.stride,
                map: &map,
                dy_shape,
                dy: &dy,
                out: &mut product,
            });
            let image = &mut out[i * image..];
            isa.run(InputGradient {
                size: [at.height, at.width],
                columns,
                stride: at.stride,
                dy_shape,
                dy: &dy,
                weight: taps,
                relu: first.map(|_| (&map[..], shape)),
                out: image,
                out_stride: stride,
            });
            if let Some(first) = first {
                let from = number * at.pixels_in() * columns;
                let y = Rows {
                    data: &first.y[from..],
                    stride: columns,
                };
                moments.add(
                    isa,
                    at.pixels_in(),
                    Rows {
                        data: image,
                        stride,
                    },
                    y,
                    &first.norm,
                );
            }
        }
        (product, moments)
    }
}

/// `norm2`'s backward where its scale went into the weights behind it: the sums come from
/// `product`, `P'` as `[outputs][inputs]`.
fn folded_norm_backward(norm: &Norm, product: &[f32], conv: ConvNorm) -> NormBackward {
    let inputs = conv.inputs();
    let mut weighted = vec![0.0; inputs];
    for (p, w) in product
        .chunks_exact(inputs)
        .zip(conv.weight.chunks_exact(inputs))
    {
        for ((sum, p), w) in weighted.iter_mut().zip(p).zip(w) {
            *sum += f64::from(*p) * f64::from(*w);
        }
    }
    norm.backward(&[vec![0.0; inputs], weighted])
}

/// `[n][k]` with column `k` times `scale[k]`.
fn scaled_columns(mut weight: Buffer, scale: &[f32], k: usize) -> Buffer {
    for row in weight.chunks_exact_mut(k) {
        row.iter_mut().zip(scale).for_each(|(w, scale)| *w *= scale);
    }
    weight
}
