//! The stem, backward.
//!
//! ```text
//! g = the gradient of norm(y)    (module relu_gradient),    dy = a g + b (y - mean) + c    (module norm)
//!
//! dw[o, c, u, v] = sum over i, j of dy[i, j, o] image[c, i stride + u - 1, j stride + v - 1]
//! dimage[c, i, j] = sum over o, u, v of w[o, c, u, v] dy[p, q, o]
//!     where p stride = i - u + 1 and q stride = j - v + 1
//! ```
//!
//! `dw` is the matrix product of `dy` and the images' windows, as a 1x1 convolution's is of `dy` and its input
//! (`weight_gradient.rs`). The gradient of the images is computed only if it is asked for, by a plain kernel: training
//! does not need it.

use cubecl::prelude::*;

use crate::arena::Arena;
use crate::buffer::Buffer;
use crate::conv_norm::ConvNormGradient;
use crate::depthwise::TAPS;
use crate::gradient_sums::Gradient;
use crate::norm::{self, ROWS, Reading};
use crate::product::Product;
use crate::relu_gradient::{Behind, relu_gradient};
use crate::stem::{Saved, Stem, window};
use crate::stored::{Stored, load_map};
use crate::traffic::Launch;
use crate::vector::{self, V4, valid};
use crate::weight_gradient::{
    Block, PIXELS, add_products, copy_gradient, no_products, write_products,
};

/// Threads of a workgroup of the images' gradient.
const THREADS: u32 = 256;

#[cube(launch_unchecked)]
fn stem_weight_gradient<N: Size, W: Size>(
    images: &[f32],
    g: &[Vector<u32, W>],
    y: &[Vector<u32, W>],
    factors: &[Vector<f32, N>],
    parts: &mut [Vector<f32, Const<1>>],
    pixels: usize,
    channels: usize,
    height: usize,
    width: usize,
    stride: usize,
    outputs: usize,
    blocks_across: usize,
    tiles: usize,
    #[comptime] sizes: Block,
    #[comptime] stored: Stored,
) {
    let mut shared = Shared::<[V4]>::new_slice(comptime!(sizes.shared()));
    let threads = comptime!(sizes.threads());
    let block = CUBE_POS_X as usize;
    let first_o = block / blocks_across * comptime!(4 * sizes.down);
    let first_i = block % blocks_across * comptime!(4 * sizes.across);
    let mut sums = no_products();
    for number in 0..tiles {
        let first_pixel = (CUBE_POS_Y as usize * tiles + number) * PIXELS;
        copy_gradient::<N, W>(
            g,
            y,
            factors,
            &mut shared,
            first_pixel,
            first_o,
            pixels,
            outputs,
            sizes,
            stored,
            threads,
        );
        let mut at = UNIT_POS as usize;
        while at < comptime!(PIXELS * sizes.across) {
            let pixel = first_pixel + at / comptime!(sizes.across);
            let first = first_i + at % comptime!(sizes.across) * 4;
            let mut four = V4::new(0.0);
            if pixel < pixels {
                four = window(images, pixel, first, channels, height, width, stride);
            }
            shared[comptime!(sizes.right()) + at] = four;
            at += threads;
        }
        sync_cube();
        add_products(&shared, &mut sums, sizes);
        sync_cube();
    }
    let inputs = channels * TAPS;
    let part = CUBE_POS_Y as usize * outputs * inputs;
    write_products::<Const<1>>(
        &sums,
        &mut shared,
        parts,
        part,
        first_o,
        first_i,
        outputs,
        inputs,
        sizes,
    );
}

/// A thread computes one value of the images' gradient.
#[cube(launch_unchecked)]
fn stem_images_gradient<N: Size, W: Size>(
    g: &[Vector<u32, W>],
    y: &[Vector<u32, W>],
    factors: &[Vector<f32, N>],
    weight: &[f32],
    out: &mut [f32],
    values: usize,
    height: usize,
    width: usize,
    channels: usize,
    outputs: usize,
    stride: usize,
    #[comptime] stored: Stored,
) {
    let at = ABSOLUTE_POS;
    if at < values {
        let j = at % width;
        let i = at / width % height;
        let channel = at / width / height % channels;
        let image = at / width / height / channels;
        let rows = height.div_ceil(stride);
        let row_outputs = width.div_ceil(stride);
        let mut sum = V4::new(0.0);
        for quad in 0..outputs.div_ceil(4) {
            let column = quad * 4;
            let columns = valid(column, outputs);
            let factors = norm::rows::<N>(factors, column, columns, outputs, Reading::Norm);
            for tap in 0..TAPS {
                // Row and place of the output that this tap took the value to, times the stride. Where they are before
                // the map, the differences wrap around, and are not used.
                let u = tap / 3;
                let v = tap % 3;
                let down = i + 1 - u;
                let across = j + 1 - v;
                let row = down / stride;
                let place = across / stride;
                if i + 1 >= u
                    && j + 1 >= v
                    && row * stride == down
                    && place * stride == across
                    && row < rows
                    && place < row_outputs
                {
                    let pixel = (image * rows + row) * row_outputs + place;
                    let from = pixel * outputs + column;
                    let dy = norm::gradient_by(
                        load_map::<W>(g, from, columns, stored),
                        load_map::<W>(y, from, columns, stored),
                        &factors,
                    );
                    let mut w = V4::new(0.0);
                    #[unroll]
                    for o in 0..4usize {
                        if o < columns {
                            let filter = (column + o) * channels + channel;
                            w.insert(o, weight[filter * TAPS + tap]);
                        }
                    }
                    sum = fma(w, dy, sum);
                }
            }
        }
        out[at] =
            sum.extract(0usize) + sum.extract(1usize) + sum.extract(2usize) + sum.extract(3usize);
    }
}

/// Computes the gradients of the parameters from that of the output; and, if `weight` is given, that of the images. The
/// images, their sizes and the weight are those of [`forward`](crate::stem::forward).
pub fn backward(
    images: &Buffer,
    at: &Stem,
    weight: Option<&Buffer>,
    saved: &Saved,
    dout: &Buffer,
) -> (ConvNormGradient, Option<Buffer>) {
    let Saved { y, norm, places } = saved;
    let behind = match (places, at.pool) {
        (Some(places), Some(padding)) => Behind::Pool { places, padding },
        _ => Behind::Nothing,
    };
    let (g, sums) = relu_gradient(dout, &behind, at.convolved(), y, norm);
    let outputs = norm.len / ROWS;
    let arena = Arena::new(&y.client, [outputs * at.channels * TAPS, outputs, outputs]);
    let made = sums.finish(norm, at.pixels(), &arena);
    let gradient = Gradient {
        g: &g,
        y,
        factors: &made.factors,
    };
    let parameters = ConvNormGradient {
        weight: weight_gradient(images, at, &gradient).sum(&arena),
        gamma: made.gamma,
        beta: made.beta,
    };
    (
        parameters,
        weight.map(|weight| images_gradient(at, &gradient, weight)),
    )
}

/// Partial sums of `dw`, `[outputs, channels, 3, 3]`.
fn weight_gradient(images: &Buffer, at: &Stem, gradient: &Gradient) -> Product {
    let client = &images.client;
    let outputs = gradient.factors.len / ROWS;
    let pixels = at.pixels();
    let inputs = at.channels * TAPS;
    let values = outputs * inputs;
    let sizes = Block::new(outputs, inputs);
    let [down, across] = sizes.blocks(outputs, inputs);
    let share = Block::share(down * across, pixels);
    let parts = Buffer::empty(client, share.rows * values);
    let n = vector::width(&[outputs], at.stored);
    let launch = Launch::of("3x3, backward")
        .reads(images, images.len)
        .reads(gradient.g, pixels * outputs)
        .reads(gradient.y, pixels * outputs)
        .reads_all([gradient.factors])
        .writes_all([&parts]);
    launch.run(|| {
        // SAFETY: pixels, rows, places and channels are compared with their numbers before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            stem_weight_gradient::launch_unchecked(
                client,
                CubeCount::Static((down * across) as u32, share.rows as u32, 1),
                CubeDim::new_1d(sizes.threads() as u32),
                n,
                n / at.stored.in_word(),
                images.arg(1),
                gradient.g.arg(n),
                gradient.y.arg(n),
                gradient.factors.arg(n),
                parts.arg(1),
                pixels,
                at.channels,
                at.height,
                at.width,
                at.stride,
                outputs,
                across,
                share.tiles,
                sizes,
                at.stored,
            );
        }
    });
    Product {
        parts,
        rows: share.rows,
        row: values,
        first: 0,
        columns: values,
        channels: 1,
    }
}

/// The gradient of the images, in their order.
fn images_gradient(at: &Stem, gradient: &Gradient, weight: &Buffer) -> Buffer {
    let outputs = gradient.factors.len / ROWS;
    let out = Buffer::empty(
        &weight.client,
        at.images * at.channels * at.height * at.width,
    );
    let n = vector::width(&[outputs], at.stored);
    let launch = Launch::of("3x3, backward to the images")
        .reads_all([gradient.g, gradient.y, gradient.factors, weight])
        .writes_all([&out]);
    launch.run(|| {
        // SAFETY: values, rows, places and channels are compared with their numbers before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            stem_images_gradient::launch_unchecked(
                &weight.client,
                vector::workgroups(out.len, THREADS),
                CubeDim::new_1d(THREADS),
                n,
                n / at.stored.in_word(),
                gradient.g.arg(n),
                gradient.y.arg(n),
                gradient.factors.arg(n),
                weight.arg(1),
                out.arg(1),
                out.len,
                at.height,
                at.width,
                at.channels,
                outputs,
                at.stride,
                at.stored,
            );
        }
    });
    out
}
