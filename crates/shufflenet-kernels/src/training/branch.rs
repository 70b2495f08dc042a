//! A transforming branch of a unit in training: 1x1, depthwise 3x3, 1x1, each with batch norm.
//!
//! With `x` the branch's input, rows being pixels, and `norm` and `relu` as in [`crate::training::norm`]:
//!
//! ```text
//! y1 = x W1'                z = relu(norm1(y1))        (or z = x, in a branch without W1)
//! y2 = depthwise(z)
//! y3 = norm2(y2) W3'        out = relu(norm3(y3))
//! ```
//!
//! The **forward** takes three passes over the batch, one per convolution. Each pass applies the
//! normalisation before the convolution while it reads, and gathers the statistics of its output while it
//! writes. `norm2` costs nothing: no ReLU follows, so its scale goes into the rows of `W3'`, and its shift,
//! which `norm3` would remove, is left out. The forward keeps `y1`, `y2` and `y3`; the backward recomputes
//! the rest.
//!
//! The **backward** starts from `g3`, the gradient of `norm3`'s output, and takes three passes as well.
//! `norm3`'s backward computes `dy3` from `g3`, a block of rows at a time, and the block is used while it is
//! in the cache:
//!
//! ```text
//! dh = dy3 W3,   P = y2' dy3,   dW3 = (scale2 P)',
//! sum(dh) = 0,   sum(dh y2) = rowwise sum(P W3'),      since sum(dy3) = 0
//! ```
//!
//! In pairs and tiles these sums are of rounded values, and zero up to rounding. So `norm2`'s backward needs no
//! separate pass. The second pass computes the depthwise gradients, image by image. The third computes the gradients of
//! the first product like those of the last.

use crate::kernels::packing::{self, ConvNorm};
use crate::kernels::rows::Rows;
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::training::depthwise;
use crate::training::geometry::Geometry;
use crate::training::join_backward::BranchGradient;
use crate::training::norm::{Norm, NormBackward};
use crate::training::pointwise::{self, Backward, ConvNormGradient, Normed};
use crate::training::product::Destination;
use crate::training::weights::Weights;

/// A branch's weights.
#[derive(Clone, Copy)]
pub struct Branch<'a> {
    /// The first 1x1 convolution, if the branch has one.
    pub pointwise1: Option<ConvNorm<'a>>,
    /// The depthwise 3x3 convolution.
    pub depthwise: ConvNorm<'a>,
    /// The last 1x1 convolution.
    pub pointwise2: ConvNorm<'a>,
}

/// What the forward keeps for the backward.
pub struct Saved<T: Stored> {
    pub pointwise1: Option<Normed<T>>,
    pub depthwise: Normed<T>,
    pub pointwise2: Normed<T>,
}

/// Gradients of a branch's weights, in the order of the convolutions.
pub type Gradients = Vec<ConvNormGradient>;

impl<'a> Branch<'a> {
    /// Computes the forward, see the [module](self). `x` starts at the branch's first input channel.
    pub(crate) fn forward<T: Stored>(&self, at: Geometry, x: Rows<T>, epsilon: f64) -> Saved<T> {
        let isa = at.isa;
        let pointwise1 = self.pointwise1.map(|conv| {
            let weights = Weights::forward::<T>(isa, conv, None);
            pointwise::forward(at, at.pixels_in(), x, conv, &weights, epsilon)
        });
        let input = depthwise_input(x, pointwise1.as_ref());
        let depthwise = depthwise::forward(at, input, self.depthwise, epsilon);
        let conv = self.pointwise2;
        let input = Rows::new(&depthwise.y, conv.inputs());
        let scale = &depthwise.norm.scale;
        let weights = Weights::forward::<T>(isa, conv, Some(scale));
        let pointwise2 = pointwise::forward(at, at.pixels_out(), input, conv, &weights, epsilon);
        Saved {
            pointwise1,
            depthwise,
            pointwise2,
        }
    }

    /// What `pointwise2`'s output lacks because `norm2`'s shift is left out: `W3 shift2`.
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
    pub(crate) fn statistics<T: Stored>(&self, saved: &Saved<T>) -> Vec<f32> {
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

    /// Computes the backward, see the [module](self), from `g3`, the gradient of the last batch norm's output
    /// with its sums. `dx` starts at the branch's first input channel, with `dx.stride` values from row to
    /// row. If `dx.accumulate` is set, the gradient is added to `dx`; a branch without `W1` does not support
    /// that.
    pub(crate) fn backward<T: Stored>(
        &self,
        at: Geometry,
        x: Rows<T>,
        saved: &Saved<T>,
        g3: BranchGradient<T>,
        dx: &mut Destination<T>,
    ) -> Gradients {
        let isa = at.isa;
        let norm3 = saved.pointwise2.norm.backward(&g3.1);
        let (last, second) = (self.pointwise2, &saved.depthwise);
        let inputs = Rows::new(&second.y, last.inputs());
        let weights = Weights::input_gradient::<T>(isa, last);
        let mut dh = Buffer::any(second.y.len());
        let from = Backward {
            conv: last,
            weights: &weights,
            saved: &saved.pointwise2,
            norm: &norm3,
            g: Rows::new(&g3.0, last.outputs()),
        };
        let mut into = Destination {
            data: &mut dh,
            stride: last.inputs(),
            accumulate: false,
        };
        let products = pointwise::backward(at, at.pixels_out(), inputs, from, &mut into);
        drop(g3.0);
        let mut product = packing::summed(&products, last.inputs(), last.outputs());
        let norm2 = folded_norm_backward(&second.norm, &product, last, &weights);
        packing::scale_columns(&mut product, &second.norm.scale, last.inputs());
        let gradient3 = ConvNormGradient::new(product, norm3);

        let pass = depthwise::Backward {
            at,
            conv: self.depthwise,
            x: depthwise_input(x, saved.pointwise1.as_ref()),
            saved: second,
            norm: &norm2,
            g: Rows::new(&dh, last.inputs()),
        };
        let (g1, depthwise) = pass.run(dx.data, dx.stride);
        drop(dh);
        let gradient2 = ConvNormGradient::new(depthwise, norm2);
        let (Some(conv), Some(first), Some((g1, sums))) = (self.pointwise1, &saved.pointwise1, g1)
        else {
            return vec![gradient2, gradient3];
        };
        let norm1 = first.norm.backward(&sums);
        let weights = Weights::input_gradient::<T>(isa, conv);
        let from = Backward {
            conv,
            weights: &weights,
            saved: first,
            norm: &norm1,
            g: Rows::new(&g1, conv.outputs()),
        };
        let products = pointwise::backward(at, at.pixels_in(), x, from, dx);
        let weight = packing::summed(&products, conv.inputs(), conv.outputs());
        let gradient1 = ConvNormGradient::new(weight, norm1);
        vec![gradient1, gradient2, gradient3]
    }
}

/// Input of the depthwise convolution: the output of the `first` convolution, or the branch's input.
fn depthwise_input<'a, T: Stored>(
    x: Rows<'a, T>,
    first: Option<&'a Normed<T>>,
) -> depthwise::Input<'a, T> {
    match first {
        None => depthwise::Input {
            rows: x,
            norm: None,
        },
        Some(first) => depthwise::Input {
            rows: first.rows(),
            norm: Some(&first.norm),
        },
    }
}

/// The backward of `norm2`, whose scale is in the weights after it. The sums come from `product`, which is
/// `P'` as `[outputs][inputs]`, with the weights that the input gradient's product has read.
fn folded_norm_backward(
    norm: &Norm,
    product: &[f32],
    conv: ConvNorm,
    weights: &Weights,
) -> NormBackward {
    let inputs = conv.inputs();
    let mut weighted = vec![0.0; inputs];
    for (p, w) in product
        .chunks_exact(inputs)
        .zip(conv.weight.chunks_exact(inputs))
    {
        for ((sum, p), w) in weighted.iter_mut().zip(p).zip(w) {
            *sum += f64::from(*p) * f64::from(weights.as_read(*w));
        }
    }
    norm.backward(&[vec![0.0; inputs], weighted])
}
