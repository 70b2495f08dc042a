//! The 1x1 convolution with its batch norm's statistics, over a whole batch: forward and backward.
//!
//! Both work on blocks of rows that stay in the cache. The forward adds a product's output to the
//! statistics as soon as it is written. The backward computes a block of `dy` by batch norm's backward
//! and uses it in both products, `dx = dy W` and `dW' += x' dy`. [`crate::training::product`] computes the products.

use crate::kernels::packing::ConvNorm;
use crate::kernels::rows::Rows;
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::stored::Stored;
use crate::training::geometry::Geometry;
use crate::training::moments::Moments;
use crate::training::norm::{Norm, NormBackward};
use crate::training::product::{self, BackwardBlock, Destination, Forward};
use crate::training::weights::Weights;

/// Output of a convolution, and the batch norm after it.
pub struct Normed<T: Stored> {
    /// Output of the convolution, rows of `norm.columns()` values.
    pub y: Buffer<T>,
    /// The norm, with its statistics of the batch.
    pub norm: Norm,
}

impl<T: Stored> Normed<T> {
    /// Rows of the convolution's output.
    pub fn rows(&self) -> Rows<'_, T> {
        Rows::new(&self.y, self.norm.columns())
    }
}

/// Gradients of one convolution and its batch norm, in PyTorch's layout.
pub struct ConvNormGradient {
    /// Gradient of the convolution's weight.
    pub weight: Buffer,
    /// Gradient of the norm's weight.
    pub gamma: Vec<f32>,
    /// Gradient of the norm's bias.
    pub beta: Vec<f32>,
}

impl ConvNormGradient {
    pub(crate) fn new(weight: Buffer, norm: NormBackward) -> Self {
        Self {
            weight,
            gamma: norm.gamma,
            beta: norm.beta,
        }
    }
}

/// Computes a 1x1 convolution and the statistics of its output. `weights` are packed by [`Weights::forward`].
pub fn forward<T: Stored>(
    at: Geometry,
    pixels: usize,
    x: Rows<T>,
    conv: ConvNorm,
    weights: &Weights,
    epsilon: f64,
) -> Normed<T> {
    let (isa, inner, columns) = (at.isa, conv.inputs(), conv.outputs());
    let block = weights.block_rows(inner, columns);
    let all = at.images * pixels;
    let part = at.part * pixels;
    let mut y = Buffer::any(all * columns);
    let moments: Vec<Moments> = team::map(y.chunks_mut(part * columns), |number, y| {
        let mut moments = Moments::new(isa, columns);
        let mut products = Forward::new::<T>(isa, weights, block, [inner, columns]);
        for (i, out) in y.chunks_mut(block * columns).enumerate() {
            let rows = out.len() / columns;
            let x = x.behind(number * part + i * block);
            products.block(rows, x, out);
            moments.add(isa, rows, Rows::new(out, columns));
        }
        moments
    });
    let norm = Norm::of_batch(isa, &moments, conv, epsilon);
    Normed { y, norm }
}

/// Arguments of [`backward`].
#[derive(Clone, Copy)]
pub struct Backward<'a, T: Stored> {
    pub conv: ConvNorm<'a>,
    /// Weights of the convolution, packed by [`Weights::input_gradient`].
    pub weights: &'a Weights,
    /// Result of the forward.
    pub saved: &'a Normed<T>,
    /// Backward of the convolution's batch norm.
    pub norm: &'a NormBackward,
    /// Gradient of the batch norm's output.
    pub g: Rows<'a, T>,
}

/// The backward of [`forward`]. It writes the input's gradient to `dx`, and returns the weight's gradient as
/// one `[inputs][outputs]` matrix with padded rows for each part.
pub fn backward<T: Stored>(
    at: Geometry,
    pixels: usize,
    x: Rows<T>,
    from: Backward<T>,
    dx: &mut Destination<T>,
) -> Vec<Buffer> {
    let Backward {
        conv,
        weights,
        saved,
        norm,
        g,
    } = from;
    let (isa, sizes) = (at.isa, [conv.inputs(), conv.outputs()]);
    let block = weights.block_rows(sizes[0], sizes[1]);
    let (stride, accumulate) = (dx.stride, dx.accumulate);
    let (y, [a, b, c]) = (saved.rows(), &norm.factors);
    team::map(dx.data.chunks_mut(at.part * pixels * stride), |part, dx| {
        let mut products = product::Backward::new::<T>(isa, weights, block, sizes);
        let count = (at.images - part * at.part).min(at.part) * pixels;
        for start in (0..count).step_by(block) {
            let first = part * at.part * pixels + start;
            let from = BackwardBlock {
                rows: block.min(count - start),
                x: x.behind(first),
                y: y.behind(first),
                g: g.behind(first),
                mean: &saved.norm.mean,
                factors: [a, b, c],
            };
            let dx = Destination {
                data: &mut dx[start * stride..],
                stride,
                accumulate,
            };
            products.block(&from, dx);
        }
        products.into_weight_gradient()
    })
}
