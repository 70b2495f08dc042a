//! The 1x1 convolution with its batch norm's statistics, over a whole batch: forward and backward.
//!
//! Both work on blocks of rows that stay in the cache. The forward adds a product's output to the
//! statistics as soon as it is written. The backward computes a block of `dy` by batch norm's backward
//! and uses it in both products, `dx = dy W` and `dW' += x' dy`.

use crate::kernels::matmul::{Ahead, Matmul, block_rows};
use crate::kernels::packing::ConvNorm;
use crate::kernels::rows::{NormGradient, Rows, Widened};
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::stored::Stored;
use crate::training::geometry::Geometry;
use crate::training::moments::Moments;
use crate::training::norm::{Norm, NormBackward};

/// Output of a convolution, and the batch norm after it.
pub(crate) struct Normed<T: Stored> {
    /// Output of the convolution, rows of `norm.columns()` values.
    pub y: Buffer<T>,
    pub norm: Norm,
}

impl<T: Stored> Normed<T> {
    /// Rows of the convolution's output.
    pub fn rows(&self) -> Rows<'_, T> {
        Rows::new(&self.y, self.norm.columns())
    }
}

/// Gradients of one convolution and its batch norm, in Burn's layout.
pub(crate) struct ConvNormGradient {
    pub weight: Buffer,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

/// Destination of an input gradient: the branch's channels in the rows of a wider gradient.
pub(crate) struct InputGradientOf<'a, T> {
    pub data: &'a mut [T],
    pub stride: usize,
    pub accumulate: bool,
}

/// Computes a 1x1 convolution and the statistics of its output. `weight` is packed by
/// [`transposed`](crate::kernels::packing::transposed).
pub(crate) fn forward<T: Stored>(
    at: Geometry,
    pixels: usize,
    x: Rows<T>,
    conv: ConvNorm,
    weight: &[f32],
    epsilon: f64,
) -> Normed<T> {
    let (isa, inner, columns) = (at.isa, conv.inputs(), conv.outputs());
    let block = block_rows(inner, columns);
    let all = at.images * pixels;
    let part = at.part * pixels;
    let mut y = Buffer::any(all * columns);
    let moments: Vec<Moments> = team::map(y.chunks_mut(part * columns), |number, y| {
        let mut moments = Moments::new(isa, columns);
        let mut widened = Widened::new::<T>(isa, block, inner);
        for (i, out) in y.chunks_mut(block * columns).enumerate() {
            let first = number * part + i * block;
            let rows = out.len() / columns;
            let left = widened.rows(x.behind(first), rows);
            isa.run(Matmul {
                rows,
                inner,
                columns,
                left: left.data,
                left_strides: [left.stride, 1],
                right: weight,
                right_row: isa.padded(columns),
                out,
                out_row: columns,
                accumulate: false,
                ahead: [
                    x.storage(first + rows..first + rows + block),
                    Ahead::default(),
                ],
            });
            moments.add(isa, rows, Rows::new(out, columns));
        }
        moments
    });
    let norm = Norm::of_batch(isa, &moments, conv, epsilon);
    Normed { y, norm }
}

/// Arguments of [`backward`].
#[derive(Clone, Copy)]
pub(crate) struct Backward<'a, T: Stored> {
    pub conv: ConvNorm<'a>,
    /// Weight of the convolution, packed by [`padded`](crate::kernels::packing::padded).
    pub weight: &'a [f32],
    /// Result of the forward.
    pub saved: &'a Normed<T>,
    /// Backward of the convolution's batch norm.
    pub norm: &'a NormBackward,
    /// Gradient of the batch norm's output.
    pub g: Rows<'a, T>,
}

/// The backward of [`forward`]. It writes the input's gradient to `dx`, and returns the weight's gradient as
/// one `[inputs][outputs]` matrix with padded rows for each part.
pub(crate) fn backward<T: Stored>(
    at: Geometry,
    pixels: usize,
    x: Rows<T>,
    from: Backward<T>,
    dx: &mut InputGradientOf<T>,
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
        let mut widened = Widened::new::<T>(isa, block, inputs);
        let count = (at.images - part * at.part).min(at.part) * pixels;
        for start in (0..count).step_by(block) {
            let rows = block.min(count - start);
            let first = part * at.part * pixels + start;
            let next = first + rows..first + rows + block;
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
            let left = widened.rows(x.behind(first), rows);
            isa.run(Matmul {
                rows: inputs,
                inner: rows,
                columns: outputs,
                left: left.data,
                left_strides: [1, left.stride],
                right: &dy,
                right_row: padded,
                out: &mut product,
                out_row: padded,
                accumulate: true,
                ahead: [x.storage(next), Ahead::default()],
            });
        }
        product
    })
}
