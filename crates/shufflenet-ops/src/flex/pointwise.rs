//! The 1x1 convolution with its batch norm's statistics, over a whole batch: forward and backward.
//!
//! Both go over blocks of rows that stay in the cache: forward sums up what a product has just
//! written; backward makes a block of `dy` by batch norm's backward and feeds it to both products,
//! `dx = dy W` and `dW' += x' dy`.

use super::geometry::Geometry;
use super::matmul::{Matmul, block_rows};
use super::moments::Moments;
use super::norm::{Norm, NormBackward};
use super::pool::Buffer;
use super::rows::{NormGradient, Rows};
use super::weights::ConvNorm;
use crate::team;

/// What a convolution gave, and the batch norm behind it.
pub(crate) struct Normed {
    /// Rows of `norm.columns()` values.
    pub y: Buffer,
    pub norm: Norm,
}

impl Normed {
    /// What the convolution gave.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(&self.y, self.norm.columns())
    }
}

/// Gradients of one convolution and its batch norm, as Burn shapes them.
pub(crate) struct ConvNormGradient {
    pub weight: Buffer,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

/// Where an input gradient goes: the branch's channels of the rows of a larger one.
pub(crate) struct InputGradientOf<'a> {
    pub data: &'a mut [f32],
    pub stride: usize,
    pub accumulate: bool,
}

/// A 1x1 convolution with the statistics of its output. `weight` is packed as
/// [`weights::transposed`] does.
pub(crate) fn forward(
    at: Geometry,
    pixels: usize,
    x: Rows,
    conv: ConvNorm,
    weight: &[f32],
    epsilon: f64,
) -> Normed {
    let (isa, inner, columns) = (at.isa, conv.inputs(), conv.outputs());
    let block = block_rows(inner, columns);
    let all = at.images * pixels;
    let part = at.part * pixels;
    let mut y = Buffer::any(all * columns);
    let moments: Vec<Moments> = team::map(y.chunks_mut(part * columns), |number, y| {
        let mut moments = Moments::new(isa, columns);
        for (i, out) in y.chunks_mut(block * columns).enumerate() {
            let first = number * part + i * block;
            let rows = out.len() / columns;
            isa.run(Matmul {
                rows,
                inner,
                columns,
                left: &x.data[first * x.stride..],
                left_strides: [x.stride, 1],
                right: weight,
                right_row: isa.padded(columns),
                out,
                out_row: columns,
                accumulate: false,
                ahead: [x.storage(first + rows..first + rows + block), &[]],
            });
            moments.add(isa, rows, Rows::new(out, columns));
        }
        moments
    });
    let norm = Norm::of_batch(isa, &moments, conv, epsilon);
    Normed { y, norm }
}

/// What the backward of [`forward`] starts from.
#[derive(Clone, Copy)]
pub(crate) struct Backward<'a> {
    pub conv: ConvNorm<'a>,
    /// Packed as [`padded`](super::weights::padded) does.
    pub weight: &'a [f32],
    /// What the forward gave.
    pub saved: &'a Normed,
    /// The backward of its batch norm.
    pub norm: &'a NormBackward,
    /// The gradient behind that.
    pub g: Rows<'a>,
}

/// The backward of [`forward`]: the input's gradient goes into `dx`, the weight's comes back as one
/// `[inputs][outputs]`, rows padded, for each part.
pub(crate) fn backward(
    at: Geometry,
    pixels: usize,
    x: Rows,
    from: Backward,
    dx: &mut InputGradientOf,
) -> Vec<Buffer> {
    let Backward {
        conv,
        weight,
        saved,
        norm,
        g,
    } = from;
    let (isa, inputs, outputs) = (at.isa, conv.inputs(), conv.outputs());
    let block = block_rows(inputs, outputs);
    let (padded, stride, accumulate) = (isa.padded(outputs), dx.stride, dx.accumulate);
    let (y, [a, b, c]) = (saved.rows(), &norm.factors);
    team::map(dx.data.chunks_mut(at.part * pixels * stride), |part, dx| {
        let mut dy = Buffer::any(block * padded);
        let mut product = Buffer::zeros(inputs * padded);
        let count = (at.images - part * at.part).min(at.part) * pixels;
        for start in (0..count).step_by(block) {
            let rows = block.min(count - start);
            let first = part * at.part * pixels + start;
            let next = first + rows..first + rows + block;
            let block_of_x = x.behind(first);
            isa.run(NormGradient {
                rows,
                columns: outputs,
                g: g.behind(first),
                y: y.behind(first),
                mean: &saved.norm.mean,
                factors: [a, b, c],
                out: &mut dy,
                out_stride: padded,
            });
            isa.run(Matmul {
                rows,
                inner: outputs,
                columns: inputs,
                left: &dy,
                left_strides: [padded, 1],
                right: weight,
                right_row: isa.padded(inputs),
                out: &mut dx[start * stride..],
                out_row: stride,
                accumulate,
                ahead: [g.storage(next.clone()), y.storage(next.clone())],
            });
            isa.run(Matmul {
                rows: inputs,
                inner: rows,
                columns: outputs,
                left: block_of_x.data,
                left_strides: [1, x.stride],
                right: &dy,
                right_row: padded,
                out: &mut product,
                out_row: padded,
                accumulate: true,
                ahead: [x.storage(next), &[]],
            });
        }
        product
    })
}
