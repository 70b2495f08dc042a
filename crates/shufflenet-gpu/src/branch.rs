//! A branch of a unit: 1x1 convolution, depthwise 3x3, 1x1, each with batch norm; a ReLU follows the 1x1 convolutions.
//!
//! ```text
//! y1 = W1 x,    y2 = depthwise(relu(norm1(y1))),    y3 = W3 norm2(y2),    out = relu(norm3(y3))
//! ```
//!
//! The left branch of a stride-2 unit begins with the depthwise convolution, which reads `x` as it is. `out` is never
//! stored: the join applies norm3 and ReLU while it reads `y3` ([`crate::join`]). The other norms are applied by the
//! convolution behind them.

use crate::arena::Arena;
use crate::buffer::Buffer;
use crate::conv_norm::{ConvNorm, ConvNormGradient, Normed};
use crate::gradient_sums::{Backward, Gradient, NormGradient};
use crate::moments::Moments;
use crate::norm::{ROWS, Reading};
use crate::norms::Norms;
use crate::pointwise::{self, Columns};
use crate::{depthwise, depthwise_gradient, pointwise_backward};

/// The convolutions of a branch.
#[derive(Clone)]
pub struct Branch {
    /// The first 1x1 convolution, if there is one.
    pub pointwise1: Option<ConvNorm>,
    /// The depthwise convolution.
    pub depthwise: ConvNorm,
    /// The last 1x1 convolution.
    pub pointwise2: ConvNorm,
}

/// What the backward needs.
pub struct Saved {
    pub(crate) pointwise1: Option<Normed>,
    pub(crate) depthwise: Normed,
    pub(crate) pointwise2: Normed,
}

/// Sizes of a branch's maps.
#[derive(Clone, Copy)]
pub(crate) struct Maps {
    /// Images, height and width of the input.
    pub input: [usize; 3],
    pub stride: usize,
}

impl Maps {
    /// Pixels of the input's maps, all images together.
    pub fn pixels_in(&self) -> usize {
        self.input.iter().product()
    }

    /// Pixels of the output's maps.
    pub fn pixels_out(&self) -> usize {
        let [images, height, width] = self.input;
        images * height.div_ceil(self.stride) * width.div_ceil(self.stride)
    }
}

/// A branch's backward down to the depthwise convolution.
pub(crate) struct ToDepthwise {
    /// The backward of the depthwise convolution. Its `g` is of the convolution's input: norm1's output, or the branch's
    /// input.
    pub depthwise: Backward,
    /// The gradient of the depthwise convolution's norm.
    norm: NormGradient,
    /// The gradients of the last convolution.
    last: ConvNormGradient,
}

impl ToDepthwise {
    /// The gradients of both convolutions. `weight` is the depthwise convolution's, whose rows are added.
    pub fn gradients(self, weight: Buffer) -> [ConvNormGradient; 2] {
        [conv_norm(weight, self.norm), self.last]
    }
}

/// Where a branch's backward writes.
pub(crate) struct Gradients<'a> {
    /// The gradient of the branch's input.
    pub dx: &'a Columns,
    /// Whether that gradient is added to what is there.
    pub add: bool,
    /// The gradients of parameters.
    pub parameters: &'a Arena,
}

/// The whole map, whose pixels have `channels` channels.
pub(crate) fn whole(data: &Buffer, channels: usize) -> Columns {
    Columns {
        data: data.clone(),
        row: channels,
        first: 0,
    }
}

impl Branch {
    /// The convolutions in their order.
    pub(crate) fn convolutions(&self) -> impl Iterator<Item = &ConvNorm> {
        let first = self.pointwise1.iter();
        first.chain([&self.depthwise, &self.pointwise2])
    }

    /// Computes the convolutions. `x` begins at the branch's first channel. `norms` gives the norm of each convolution, in
    /// their order.
    pub(crate) fn forward(&self, maps: Maps, x: &Columns, norms: &mut Norms) -> Saved {
        let mut normed = |(y, moments): (Buffer, Moments), conv| {
            let norm = norms.next(&moments, conv);
            Normed { y, norm }
        };
        let first = self.pointwise1.as_ref().map(|conv| {
            let inputs = conv.weight.len / conv.outputs();
            let y = pointwise::forward(x, maps.pixels_in(), inputs, None, &conv.weight);
            normed(y, conv)
        });
        let (z, norm) = depthwise_input(x, first.as_ref());
        let y = depthwise::forward(&z, maps.input, maps.stride, norm, &self.depthwise.weight);
        let second = normed(y, &self.depthwise);
        let channels = self.depthwise.outputs();
        let last = pointwise::forward(
            &whole(&second.y, channels),
            maps.pixels_out(),
            channels,
            Some((&second.norm, Reading::Norm)),
            &self.pointwise2.weight,
        );
        let last = normed(last, &self.pointwise2);
        Saved {
            pointwise1: first,
            depthwise: second,
            pointwise2: last,
        }
    }

    /// Computes the gradients of the last two convolutions from `g`, the gradient of norm3's output, and `norm3`'s. The
    /// gradients of parameters are in `arena`.
    ///
    /// The depthwise taps' rows are not yet added: they wait for a launch that adds them beside its own work, as the last
    /// convolution's do here.
    pub(crate) fn to_depthwise(
        &self,
        maps: Maps,
        x: &Columns,
        saved: &Saved,
        g: &Buffer,
        norm3: NormGradient,
        arena: &Arena,
    ) -> ToDepthwise {
        let pixels = maps.pixels_out();
        let second = &saved.depthwise;
        let behind = gradient(g, &saved.pointwise2, &norm3);
        let with = (&second.norm, Reading::Norm);
        let weight = &self.pointwise2.weight;
        let last = pointwise_backward::through_norm(&behind, pixels, weight, &second.y, with);
        let (norm2, weight3) = last
            .sums
            .finish_with(&second.norm, pixels, &last.weight, arena);

        let behind = gradient(&last.g, second, &norm2);
        let (z, norm) = depthwise_input(x, saved.pointwise1.as_ref());
        let weight = &self.depthwise.weight;
        let depthwise =
            depthwise_gradient::backward(&behind, weight, &z, maps.input, maps.stride, norm);
        ToDepthwise {
            depthwise,
            norm: norm2,
            last: conv_norm(weight3, norm3),
        }
    }

    /// Computes the gradients of all convolutions, in their order, as [`to_depthwise`](Self::to_depthwise) does; that
    /// of the branch's input is written to `into.dx`. Without a first convolution nothing is written.
    pub(crate) fn backward(
        &self,
        maps: Maps,
        x: &Columns,
        saved: &Saved,
        g: &Buffer,
        norm3: NormGradient,
        into: &Gradients,
    ) -> Vec<ConvNormGradient> {
        let arena = into.parameters;
        let begun = self.to_depthwise(maps, x, saved, g, norm3, arena);
        let pixels = maps.pixels_in();
        let depthwise = &begun.depthwise;
        let (Some(conv), Some(saved)) = (&self.pointwise1, &saved.pointwise1) else {
            let weight2 = depthwise.weight.sum(arena);
            return begun.gradients(weight2).into();
        };
        let (norm1, weight2) =
            depthwise
                .sums
                .finish_with(&saved.norm, pixels, &depthwise.weight, arena);
        let behind = gradient(&depthwise.g, saved, &norm1);
        let weight1 =
            pointwise_backward::into_map(&behind, pixels, &conv.weight, x, into.dx, into.add);
        let mut gradients = vec![conv_norm(weight1.sum(arena), norm1)];
        gradients.extend(begun.gradients(weight2));
        gradients
    }
}

/// What the depthwise convolution reads: the first convolution's output, or the branch's input.
fn depthwise_input<'a>(
    x: &Columns,
    first: Option<&'a Normed>,
) -> (Columns, Option<(&'a Buffer, Reading)>) {
    match first {
        Some(first) => {
            let channels = first.norm.len / ROWS;
            let norm = (&first.norm, Reading::NormRelu);
            (whole(&first.y, channels), Some(norm))
        }
        None => (x.clone(), None),
    }
}

fn gradient<'a>(g: &'a Buffer, conv: &'a Normed, norm: &'a NormGradient) -> Gradient<'a> {
    Gradient {
        g,
        y: &conv.y,
        factors: &norm.factors,
    }
}

fn conv_norm(weight: Buffer, norm: NormGradient) -> ConvNormGradient {
    ConvNormGradient {
        weight,
        gamma: norm.gamma,
        beta: norm.beta,
    }
}
