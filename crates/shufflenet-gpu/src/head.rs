//! The head: 1x1 convolution, batch norm, ReLU, mean of each image.
//!
//! ```text
//! y = x W',    out[image] = mean over the image's pixels of relu(norm(y))
//!
//! g = dout[image] / pixels of an image, where norm(y) > 0,    dx = dy W,    dW = dy' x    (dy: module norm)
//! ```

use cubecl::prelude::*;

use crate::arena::Arena;
use crate::buffer::Buffer;
use crate::conv_norm::{ConvNorm, ConvNormGradient, NormConfig, Running};
use crate::gradient_sums::Gradient;
use crate::moments::Moments;
use crate::norm::{self, ROWS, Reading};
use crate::norms::Norms;
use crate::pointwise::{self, Columns};
use crate::pointwise_backward;
use crate::relu_gradient::{Behind, relu_gradient};
use crate::stored::{Stored, load_map};
use crate::traffic::Launch;
use crate::vector::{self, V4, store, valid};

/// Threads of a workgroup.
const THREADS: u32 = 256;

/// What the backward needs beside the input.
#[derive(Clone)]
pub struct Saved {
    /// The convolution's output, `[pixels, outputs]`.
    pub y: Buffer,
    /// The convolution's norm.
    pub norm: Buffer,
}

/// A thread computes four channels of an image, from the first pixel to the last.
#[cube(launch_unchecked)]
fn norm_relu_mean<N: Size, W: Size>(
    y: &[Vector<u32, W>],
    norm: &[Vector<f32, N>],
    out: &mut [Vector<f32, N>],
    images: usize,
    pixels: usize,
    channels: usize,
    #[comptime] stored: Stored,
) {
    let quads = channels.div_ceil(4);
    let image = ABSOLUTE_POS / quads;
    let column = ABSOLUTE_POS % quads * 4;
    if image < images {
        let columns = valid(column, channels);
        let norm = norm::rows::<N>(norm, column, columns, channels, Reading::NormRelu);
        let mut sum = V4::new(0.0);
        for pixel in 0..pixels {
            let from = (image * pixels + pixel) * channels + column;
            let value = load_map::<W>(y, from, columns, stored);
            sum += norm::read_by(value, &norm, Reading::NormRelu);
        }
        let mean = sum / V4::new(f32::cast_from(pixels));
        store::<N>(out, image * channels + column, columns, mean);
    }
}

/// Computes the output, `[images, outputs]`. `x` has `images` of `pixels` pixels each.
pub fn forward(
    x: &Columns,
    [images, pixels]: [usize; 2],
    conv: &ConvNorm,
    running: &Running,
    config: NormConfig,
) -> (Buffer, Vec<Running>, Saved) {
    let running = std::slice::from_ref(running);
    let mut norms = Norms::new(&x.data.client, [conv], running, config);
    let (y, moments) = convolve(x, [images, pixels], conv);
    let norm = norms.next(&moments, conv);
    let out = mean(&y, &norm, [images, pixels]);
    (out, norms.moved(), Saved { y, norm })
}

/// Computes the output in inference, with the norm's [`FrozenNorm::rows`](crate::norms::FrozenNorm::rows).
pub fn infer(x: &Columns, size: [usize; 2], conv: &ConvNorm, norm: &Buffer) -> Buffer {
    let (y, _) = convolve(x, size, conv);
    mean(&y, norm, size)
}

fn convolve(x: &Columns, [images, pixels]: [usize; 2], conv: &ConvNorm) -> (Buffer, Moments) {
    let inputs = conv.weight.len / conv.outputs();
    pointwise::forward(x, images * pixels, inputs, None, &conv.weight)
}

/// `relu(norm(y))`, its mean over the pixels of each image.
fn mean(y: &Buffer, norm: &Buffer, [images, pixels]: [usize; 2]) -> Buffer {
    let client = &y.client;
    let outputs = norm.len / ROWS;
    let out = Buffer::empty(client, images * outputs);
    let n = vector::width(&[outputs], y.stored);
    let launch = Launch::of("mean").reads_all([y, norm]).writes_all([&out]);
    launch.run(|| {
        // SAFETY: the image is compared with their number, and channels with the width, before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            norm_relu_mean::launch_unchecked(
                client,
                vector::workgroups(images * outputs.div_ceil(4), THREADS),
                CubeDim::new_1d(THREADS),
                n,
                n / y.stored.in_word(),
                y.arg(n),
                norm.arg(n),
                out.arg(n),
                images,
                pixels,
                outputs,
                y.stored,
            );
        }
    });
    out
}

/// The gradients of the input, `[pixels, inputs]`, and of the parameters, from that of the output. `x`, its sizes and the
/// weight are those of [`forward`].
pub fn backward(
    x: &Columns,
    [images, pixels]: [usize; 2],
    weight: &Buffer,
    saved: &Saved,
    dout: &Buffer,
) -> (Buffer, ConvNormGradient) {
    let Saved { y, norm } = saved;
    let outputs = norm.len / ROWS;
    let inputs = weight.len / outputs;
    let all = images * pixels;
    let (g, sums) = relu_gradient(dout, &Behind::Mean, [images, pixels, 1], y, norm);
    let arena = Arena::new(&y.client, [weight.len, outputs, outputs]);
    let made = sums.finish(norm, all, &arena);
    let gradient = Gradient {
        g: &g,
        y,
        factors: &made.factors,
    };
    let dx = Columns {
        data: Buffer::map(&y.client, all * inputs, y.stored),
        row: inputs,
        first: 0,
    };
    let product = pointwise_backward::into_map(&gradient, all, weight, x, &dx, false);
    let parameters = ConvNormGradient {
        weight: product.sum(&arena),
        gamma: made.gamma,
        beta: made.beta,
    };
    (dx.data, parameters)
}
