//! The head in training: the last 1x1 convolution, batch norm, ReLU, global average pooling.
//!
//! ```text
//! y = x W',    out[image] = mean over its pixels of relu(norm(y))
//! ```
//!
//! `x` and `y` are stored as the network's activations are; the output and its gradient are float32. The forward
//! keeps `y` for the backward. The outputs of batch norm and ReLU are never stored.

use crate::kernels::packing::{self, ConvNorm};
use crate::kernels::rows::{NormReluMean, ReluGradient, Rows};
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::stored::Stored;
use crate::training::geometry::Geometry;
use crate::training::moments::GradientMoments;
use crate::training::pointwise::{self, Backward, ConvNormGradient, Normed};
use crate::training::product::Destination;
use crate::training::weights::Weights;

/// Computes the head's output, `[images][columns]`, and what its backward needs.
pub(crate) fn forward<T: Stored>(
    at: Geometry,
    x: Rows<T>,
    conv: ConvNorm,
    epsilon: f64,
) -> (Buffer, Normed<T>) {
    let (isa, columns, pixels) = (at.isa, conv.outputs(), at.pixels_out());
    let weights = Weights::forward::<T>(isa, conv, None);
    let normed = pointwise::forward(at, pixels, x, conv, &weights, epsilon);
    let mut out = Buffer::any(at.images * columns);
    team::map(out.chunks_mut(at.part * columns), |part, out| {
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            let y = normed.rows().behind((part * at.part + i) * pixels);
            isa.run(NormReluMean {
                rows: pixels,
                columns,
                y,
                scale: &normed.norm.scale,
                shift: &normed.norm.shift,
                out,
            });
        }
    });
    (out, normed)
}

/// Computes the gradients of the input and of the weights from the gradient of the output.
pub(crate) fn backward<T: Stored>(
    at: Geometry,
    x: Rows<T>,
    conv: ConvNorm,
    saved: &Normed<T>,
    dout: &[f32],
) -> (Buffer<T>, ConvNormGradient) {
    let (isa, columns, pixels) = (at.isa, conv.outputs(), at.pixels_out());
    let Normed { y, norm } = saved;
    let image = pixels * columns;
    let mut g = Buffer::<T>::any(y.len());
    let moments: Vec<GradientMoments> = team::map(g.chunks_mut(at.part * image), |part, g| {
        let mut moments = GradientMoments::new(isa, columns);
        let mut share = Buffer::any(columns);
        for (i, out) in g.chunks_exact_mut(image).enumerate() {
            let number = part * at.part + i;
            let of_image = &dout[number * columns..][..columns];
            share
                .iter_mut()
                .zip(of_image)
                .for_each(|(share, g)| *share = g / pixels as f32);
            let y = Rows::new(&y[number * image..], columns);
            let (scale, shift) = (&norm.scale, &norm.shift);
            // Each pixel of the image has the same share.
            let g = Rows::new(&share, 0);
            isa.run(ReluGradient {
                rows: pixels,
                columns,
                g,
                y,
                scale,
                shift,
                out,
                out_stride: columns,
            });
            moments.add(isa, pixels, Rows::new(out, columns), y, norm);
        }
        moments
    });
    let norm = norm.backward(&GradientMoments::merge(&moments));
    let weights = Weights::input_gradient::<T>(isa, conv);
    let mut dx = Buffer::any(at.images * pixels * conv.inputs());
    let mut into = Destination {
        data: &mut dx,
        stride: conv.inputs(),
        accumulate: false,
    };
    let from = Backward {
        conv,
        weights: &weights,
        saved,
        norm: &norm,
        g: Rows::new(&g, columns),
    };
    let products = pointwise::backward(at, pixels, x, from, &mut into);
    let weight = packing::summed(&products, conv.inputs(), columns);
    (dx, ConvNormGradient::new(weight, norm))
}
