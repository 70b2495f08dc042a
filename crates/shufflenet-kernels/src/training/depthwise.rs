//! The depthwise convolution of a whole batch, between its two batch norms: forward and backward.
//!
//! Images are copied one at a time into a map with a border ([`crate::kernels::map`]). The copy applies the
//! batch norm and ReLU before the convolution. Everything that reads the map runs while the map is in the
//! second-level cache.

use crate::kernels::depthwise::{Forward, InputGradient, WeightGradient};
use crate::kernels::map::{Fill, FillMap, MapShape};
use crate::kernels::packing::{self, ConvNorm};
use crate::kernels::rows::Rows;
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::stored::Stored;
use crate::training::geometry::Geometry;
use crate::training::join_backward::BranchGradient;
use crate::training::moments::{GradientMoments, Moments};
use crate::training::norm::{Norm, NormBackward};
use crate::training::pointwise::Normed;

/// Input of the convolution.
#[derive(Clone, Copy)]
pub struct Input<'a, T> {
    pub rows: Rows<'a, T>,
    /// The batch norm, followed by a ReLU, that is still to be applied.
    pub norm: Option<&'a Norm>,
}

impl<T: Stored> Input<'_, T> {
    /// Copies image `image` into `map`, which has this shape.
    fn lay_out(
        &self,
        at: Geometry,
        image: usize,
        columns: usize,
        shape: MapShape,
        map: &mut [f32],
    ) {
        let fill = match self.norm {
            None => Fill::Plain,
            Some(norm) => Fill::NormRelu {
                scale: &norm.scale,
                shift: &norm.shift,
            },
        };
        at.isa.run(FillMap {
            shape,
            columns,
            y: self.rows.behind(image * at.pixels_in()),
            fill,
            map,
        });
    }
}

/// A scratch map with zeros on its border.
fn bordered(shape: MapShape) -> Buffer {
    let mut map = Buffer::any(shape.len());
    shape.clear_border(&mut map);
    map
}

/// Computes the convolution and the statistics of its output.
pub fn forward<T: Stored>(at: Geometry, x: Input<T>, conv: ConvNorm, epsilon: f64) -> Normed<T> {
    let (isa, columns) = (at.isa, conv.outputs());
    let weight = packing::taps(isa, conv.weight);
    let shape = at.map(columns);
    let image = at.pixels_out() * columns;
    let mut y = Buffer::any(at.images * image);
    let moments: Vec<Moments> = team::map(y.chunks_mut(at.part * image), |part, y| {
        let mut map = bordered(shape);
        let mut moments = Moments::new(isa, columns);
        for (i, out) in y.chunks_exact_mut(image).enumerate() {
            x.lay_out(at, part * at.part + i, columns, shape, &mut map);
            isa.run(Forward {
                shape,
                columns,
                stride: at.stride,
                map: &map,
                weight: &weight,
                out,
            });
            let out = Rows::new(out, columns);
            moments.add(isa, at.pixels_out(), out);
        }
        moments
    });
    let norm = Norm::of_batch(isa, &moments, conv, epsilon);
    Normed { y, norm }
}

/// Arguments of the backward of [`forward`].
#[derive(Clone, Copy)]
pub struct Backward<'a, T: Stored> {
    pub at: Geometry,
    pub conv: ConvNorm<'a>,
    pub x: Input<'a, T>,
    /// Result of the forward.
    pub saved: &'a Normed<T>,
    /// Backward of the convolution's batch norm.
    pub norm: &'a NormBackward,
    /// Gradient of the batch norm's output.
    pub g: Rows<'a, T>,
}

impl<T: Stored> Backward<'_, T> {
    /// Computes the weights' gradient, and the gradient of the output of the batch norm before the convolution,
    /// with that norm's sums. If there is no such norm, the input's gradient is written to `dx` instead,
    /// `dx_stride` values per row.
    pub fn run(&self, dx: &mut [T], dx_stride: usize) -> (Option<BranchGradient<T>>, Buffer) {
        let (at, columns) = (self.at, self.conv.outputs());
        let values = at.images * at.pixels_in() * columns;
        let mut g1 = self.x.norm.map(|_| Buffer::any(values));
        let (out, stride) = match &mut g1 {
            Some(g1) => (&mut g1[..], columns),
            None => (dx, dx_stride),
        };
        let weight = packing::taps(at.isa, self.conv.weight);
        let parts = out.chunks_mut(at.part * at.pixels_in() * stride);
        let parts = team::map(parts, |part, out| self.part(part, &weight, out, stride));
        let (products, moments): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let weight = packing::summed(&products, 9, columns);
        (g1.map(|g1| (g1, GradientMoments::merge(&moments))), weight)
    }

    /// Computes the gradients of one part of the batch, and writes the input's to `out`.
    fn part(
        &self,
        part: usize,
        weight: &[f32],
        out: &mut [T],
        out_stride: usize,
    ) -> (Buffer, GradientMoments) {
        let (at, isa, columns) = (self.at, self.at.isa, self.conv.outputs());
        let (shape, dy_shape) = (at.map(columns), at.gradient_map(columns));
        let (mut map, mut dy) = (bordered(shape), bordered(dy_shape));
        let mut product = Buffer::zeros(9 * shape.channels);
        let mut moments = GradientMoments::new(isa, columns);
        let image = at.pixels_in() * out_stride;
        for i in 0..out.len().div_ceil(image) {
            let number = part * at.part + i;
            let out = &mut out[i * image..];
            self.x.lay_out(at, number, columns, shape, &mut map);
            self.lay_out_gradient(number, dy_shape, &mut dy);
            isa.run(WeightGradient {
                shape,
                stride: at.stride,
                map: &map,
                dy_shape,
                dy: &dy,
                out: &mut product,
            });
            isa.run(InputGradient {
                size: [at.height, at.width],
                columns,
                stride: at.stride,
                dy_shape,
                dy: &dy,
                weight,
                relu: self.x.norm.map(|_| (&map[..], shape)),
                out,
                out_stride,
            });
            if let Some(norm) = self.x.norm {
                let y = self.x.rows.behind(number * at.pixels_in());
                let g = Rows::new(out, out_stride);
                moments.add(isa, at.pixels_in(), g, y, norm);
            }
        }
        (product, moments)
    }

    /// Writes the gradient of the convolution's output for one image to `map`.
    fn lay_out_gradient(&self, image: usize, shape: MapShape, map: &mut [f32]) {
        let first = image * self.at.pixels_out();
        let [a, b, c] = &self.norm.factors;
        self.at.isa.run(FillMap {
            shape,
            columns: self.conv.outputs(),
            y: self.saved.rows().behind(first),
            fill: Fill::NormGradient {
                g: self.g.behind(first),
                mean: &self.saved.norm.mean,
                factors: [a, b, c],
            },
            map,
        });
    }
}
