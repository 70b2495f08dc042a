//! The parts of the network for each type that activations are stored as.
//!
//! A generic function is compiled by the crate that says for which type. Here that is this crate, so what calls the parts
//! compiles no kernel again.

use half::bf16;

use crate::kernels::packing::ConvNorm;
use crate::kernels::rows::Rows;
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::training::geometry::Geometry;
use crate::training::head;
use crate::training::pointwise::{ConvNormGradient, Normed};
use crate::training::stem::{self, Stem};
use crate::training::unit::{Unit, UnitSaved};

/// A type that activations are stored as in training: `f32` and `bf16`. Rows are pixels; an input has `channels` values
/// a row.
pub trait Element: Stored {
    /// The stem's output, and what its backward needs. `images` are `[batch][channels][height][width]`.
    fn stem_forward(stem: Stem, images: &[f32], epsilon: f64) -> (Buffer<Self>, stem::Saved<Self>);

    /// The stem's gradients from `dout`, the output's.
    fn stem_backward(
        stem: Stem,
        images: &[f32],
        saved: &stem::Saved<Self>,
        dout: &[Self],
    ) -> ConvNormGradient;

    /// The gradient of the stem's convolution's output from `dout`, the stem's output's.
    fn stem_convolution_gradient(stem: Stem, saved: &stem::Saved<Self>, dout: &[Self]) -> Buffer;

    /// The unit's output, and what its backward needs.
    fn unit_forward(
        unit: Unit,
        at: Geometry,
        x: &[Self],
        channels: usize,
        epsilon: f64,
    ) -> (Buffer<Self>, UnitSaved<Self>);

    /// The gradients of the unit's input and of its convolutions from `dout`, the output's.
    fn unit_backward(
        unit: Unit,
        at: Geometry,
        x: &[Self],
        channels: usize,
        saved: &UnitSaved<Self>,
        dout: &[Self],
    ) -> (Buffer<Self>, Vec<ConvNormGradient>);

    /// The head's output, `[images][outputs]`, and what its backward needs.
    fn head_forward(
        at: Geometry,
        x: Rows<Self>,
        conv: ConvNorm,
        epsilon: f64,
    ) -> (Buffer, Normed<Self>);

    /// The gradients of the head's input and of its convolution from `dout`, the output's.
    fn head_backward(
        at: Geometry,
        x: Rows<Self>,
        conv: ConvNorm,
        saved: &Normed<Self>,
        dout: &[f32],
    ) -> (Buffer<Self>, ConvNormGradient);
}

macro_rules! compiled {
    ($type:ty) => {
        impl Element for $type {
            fn stem_forward(
                stem: Stem,
                images: &[f32],
                epsilon: f64,
            ) -> (Buffer<Self>, stem::Saved<Self>) {
                stem.forward(images, epsilon)
            }

            fn stem_backward(
                stem: Stem,
                images: &[f32],
                saved: &stem::Saved<Self>,
                dout: &[Self],
            ) -> ConvNormGradient {
                stem.backward(images, saved, dout)
            }

            fn stem_convolution_gradient(
                stem: Stem,
                saved: &stem::Saved<Self>,
                dout: &[Self],
            ) -> Buffer {
                stem.convolution_gradient(saved, dout)
            }

            fn unit_forward(
                unit: Unit,
                at: Geometry,
                x: &[Self],
                channels: usize,
                epsilon: f64,
            ) -> (Buffer<Self>, UnitSaved<Self>) {
                unit.forward(at, x, channels, epsilon)
            }

            fn unit_backward(
                unit: Unit,
                at: Geometry,
                x: &[Self],
                channels: usize,
                saved: &UnitSaved<Self>,
                dout: &[Self],
            ) -> (Buffer<Self>, Vec<ConvNormGradient>) {
                unit.backward(at, x, channels, saved, dout)
            }

            fn head_forward(
                at: Geometry,
                x: Rows<Self>,
                conv: ConvNorm,
                epsilon: f64,
            ) -> (Buffer, Normed<Self>) {
                head::forward(at, x, conv, epsilon)
            }

            fn head_backward(
                at: Geometry,
                x: Rows<Self>,
                conv: ConvNorm,
                saved: &Normed<Self>,
                dout: &[f32],
            ) -> (Buffer<Self>, ConvNormGradient) {
                head::backward(at, x, conv, saved, dout)
            }
        }
    };
}

compiled!(f32);
compiled!(bf16);
