//! A branch of a unit: 1x1 convolution, depthwise 3x3, 1x1, each with batch norm; a ReLU follows the 1x1 convolutions.
//!
//! ```text
//! y1 = W1 x,    y2 = depthwise(relu(norm1(y1))),    y3 = W3 norm2(y2),    out = relu(norm3(y3))
//! ```
//!
//! The left branch of a stride-2 unit begins with the depthwise convolution, which reads `x` as it is. `out` is never
//! stored: the join applies norm3 and ReLU while it reads `y3` ([`crate::join`]). The other norms are applied by the
//! convolution behind them.

use crate::buffer::Buffer;
use crate::conv_norm::{ConvNorm, ConvNormGradient, NormConfig, Normed, Running};
use crate::gradient_sums::{Gradient, GradientSums, NormGradient};
use crate::moments::Moments;
use crate::norm::{ROWS, Reading};
use crate::pointwise::{self, Columns};
use crate::{depthwise, depthwise_gradient, pointwise_gradient, weight_gradient};

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

/// Where a branch's first convolution writes the gradient of its input.
pub(crate) struct InputGradient<'a> {
    pub map: &'a Columns,
    /// Whether the gradient is added to what is there.
    pub add: bool,
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
    /// Computes the convolutions. `x` begins at the branch's first channel. The running statistics, before and after the
    /// batch, are in the order of the convolutions.
    pub(crate) fn forward(
        &self,
        maps: Maps,
        x: &Columns,
        running: &[Running],
        config: NormConfig,
    ) -> (Saved, Vec<Running>) {
        let mut moved = Vec::new();
        let mut normed = |(y, moments): (Buffer, Moments), conv| {
            let (norm, running) = moments.finish(conv, &running[moved.len()], config);
            moved.push(running);
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
        let saved = Saved {
            pointwise1: first,
            depthwise: second,
            pointwise2: last,
        };
        (saved, moved)
    }

    /// Computes the gradients of the convolutions, and of the branch's input, from `g`, the gradient of norm3's output with
    /// its sums. A branch without a first convolution returns the gradient of its input, `[input pixels, channels]`; others
    /// write it to `dx`.
    pub(crate) fn backward(
        &self,
        maps: Maps,
        x: &Columns,
        saved: &Saved,
        (g, sums): (Buffer, GradientSums),
        dx: Option<InputGradient>,
    ) -> (Vec<ConvNormGradient>, Option<Buffer>) {
        let [pixels_in, pixels_out] = [maps.pixels_in(), maps.pixels_out()];
        let channels = self.depthwise.outputs();
        let (last, second) = (&saved.pointwise2, &saved.depthwise);

        let norm3 = sums.finish(&last.norm, pixels_out);
        let behind = gradient(&g, last, &norm3);
        let with = (&second.norm, Reading::Norm);
        let weight3 = &self.pointwise2.weight;
        let (g, sums) =
            pointwise_gradient::through_norm(&behind, pixels_out, weight3, &second.y, with);
        let y2 = whole(&second.y, channels);
        let weight3 =
            weight_gradient::weight_gradient(&behind, pixels_out, &y2, channels, Some(with));

        let norm2 = sums.finish(&second.norm, pixels_out);
        let behind = gradient(&g, second, &norm2);
        let (z, norm) = depthwise_input(x, saved.pointwise1.as_ref());
        let weight2 = &self.depthwise.weight;
        let first =
            depthwise_gradient::backward(&behind, weight2, &z, maps.input, maps.stride, norm);

        let mut gradients = vec![conv_norm(first.weight, norm2), conv_norm(weight3, norm3)];
        let (Some(conv), Some(saved), Some(dx)) = (&self.pointwise1, &saved.pointwise1, dx) else {
            return (gradients, Some(first.g));
        };
        let norm1 = first.sums.finish(&saved.norm, pixels_in);
        let behind = gradient(&first.g, saved, &norm1);
        let inputs = conv.weight.len / conv.outputs();
        pointwise_gradient::into_map(&behind, pixels_in, &conv.weight, dx.map, inputs, dx.add);
        let weight1 = weight_gradient::weight_gradient(&behind, pixels_in, x, inputs, None);
        gradients.insert(0, conv_norm(weight1, norm1));
        (gradients, None)
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
