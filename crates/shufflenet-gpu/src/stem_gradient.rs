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
//! For `dw` a unit walks its share of the pixels, and sums the taps of four outputs and of up to three channels of the images
//! in registers. The gradient of the images is computed only if it is asked for, by a plain kernel: training
//! does not need it.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::conv_norm::ConvNormGradient;
use crate::depthwise::{Block, TAPS};
use crate::gradient_sums::Gradient;
use crate::norm::{self, ROWS, Reading};
use crate::parts::{Parts, shared_for_sums, write_sums};
use crate::product::Product;
use crate::relu_gradient::{Behind, relu_gradient};
use crate::stem::{Saved, Stem, padded};
use crate::vector::{self, V4, load, valid};

/// Most channels of the images whose taps a unit sums.
const MOST_CHANNELS: usize = 3;

/// Units of a workgroup of the images' gradient.
const UNITS: u32 = 256;

#[derive_cube_comptime]
struct Shape {
    block: Block,
    /// Channels of the images, and how many of them a workgroup has.
    channels: usize,
    each: usize,
    stride: usize,
}

impl Shape {
    fn new(at: &Stem, outputs: usize) -> Self {
        let groups = at.channels.div_ceil(MOST_CHANNELS);
        Self {
            block: Block::new(outputs),
            channels: at.channels,
            each: at.channels.div_ceil(groups),
            stride: at.stride,
        }
    }

    /// Groups of channels.
    fn groups(&self) -> usize {
        self.channels.div_ceil(self.each)
    }

    /// Rows of a workgroup's sums. In the last group there may be some without a channel.
    fn sums(&self) -> usize {
        self.each * TAPS
    }
}

#[cube(launch_unchecked)]
fn weight_kernel<N: Size>(
    images: &[f32],
    g: &[Vector<f32, N>],
    y: &[Vector<f32, N>],
    factors: &[Vector<f32, N>],
    parts: &mut [Vector<f32, N>],
    pixels: usize,
    height: usize,
    width: usize,
    tiles: usize,
    #[comptime] shape: Shape,
) {
    let block = comptime!(shape.block);
    let stride = comptime!(shape.stride);
    let outputs = comptime!(block.channels);
    let mut shared = Shared::<[V4]>::new_slice(comptime!(shared_for_sums(block.units())));
    let unit_x = UNIT_POS as usize % comptime!(block.units_x);
    let unit_y = UNIT_POS as usize / comptime!(block.units_x);
    let number_of_block = CUBE_POS_Y as usize % comptime!(block.blocks);
    let group = CUBE_POS_Y as usize / comptime!(block.blocks);
    let column = number_of_block * comptime!(block.width()) + unit_x * 4;
    let columns = valid(column, outputs);
    let rows = height.div_ceil(stride);
    let row_outputs = width.div_ceil(stride);
    let factors = norm::rows::<N>(factors, column, columns, outputs, Reading::Norm);
    let mut sums = Array::<V4>::new(comptime!(shape.sums()));
    #[unroll]
    for i in 0..comptime!(shape.sums()) {
        sums[i] = V4::new(0.0);
    }
    for number in 0..tiles {
        let tile = CUBE_POS_X as usize * tiles + number;
        let pixel = tile * comptime!(block.units_y) + unit_y;
        if pixel < pixels && columns > 0 {
            let from = pixel * outputs + column;
            let dy = norm::gradient_by(
                load::<N>(g, from, columns),
                load::<N>(y, from, columns),
                &factors,
            );
            let j = pixel % row_outputs;
            let i = pixel / row_outputs % rows;
            let image = pixel / row_outputs / rows;
            #[unroll]
            for c in 0..comptime!(shape.each) {
                let channel = group * comptime!(shape.each) + c;
                if channel < comptime!(shape.channels) {
                    let plane = image * comptime!(shape.channels) + channel;
                    #[unroll]
                    for tap in 0..TAPS {
                        let row = i * stride + comptime!(tap / 3);
                        let place = j * stride + comptime!(tap % 3);
                        let value = padded(images, plane, row, place, height, width);
                        let sum = comptime!(c * TAPS + tap);
                        sums[sum] = fma(V4::new(value), dy, sums[sum]);
                    }
                }
            }
        }
    }
    write_sums::<N>(
        &sums,
        &mut shared,
        parts,
        CUBE_POS_X as usize * comptime!(shape.groups()) + group,
        column,
        columns,
        comptime!(shape.sums()),
        outputs,
        comptime!(block.units_x),
        comptime!(block.units_y),
    );
}

/// A unit computes one value of the images' gradient.
#[cube(launch_unchecked)]
fn images_kernel<N: Size>(
    g: &[Vector<f32, N>],
    y: &[Vector<f32, N>],
    factors: &[Vector<f32, N>],
    weight: &[f32],
    out: &mut [f32],
    values: usize,
    height: usize,
    width: usize,
    #[comptime] shape: Shape,
) {
    let outputs = comptime!(shape.block.channels);
    let stride = comptime!(shape.stride);
    let at = ABSOLUTE_POS;
    if at < values {
        let j = at % width;
        let i = at / width % height;
        let channel = at / width / height % comptime!(shape.channels);
        let image = at / width / height / comptime!(shape.channels);
        let rows = height.div_ceil(stride);
        let row_outputs = width.div_ceil(stride);
        let mut sum = V4::new(0.0);
        for quad in 0..comptime!(outputs.div_ceil(4)) {
            let column = quad * 4;
            let columns = valid(column, outputs);
            let factors = norm::rows::<N>(factors, column, columns, outputs, Reading::Norm);
            #[unroll]
            for tap in 0..TAPS {
                // Row and place of the output that this tap took the value to, times the stride. Where they are before
                // the map, the differences wrap around, and are not used.
                let u = comptime!(tap / 3);
                let v = comptime!(tap % 3);
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
                        load::<N>(g, from, columns),
                        load::<N>(y, from, columns),
                        &factors,
                    );
                    let mut w = V4::new(0.0);
                    #[unroll]
                    for o in 0..4usize {
                        if o < columns {
                            let filter = (column + o) * comptime!(shape.channels) + channel;
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
    let made = sums.finish(norm, at.pixels());
    let gradient = Gradient {
        g: &g,
        y,
        factors: &made.factors,
    };
    let parameters = ConvNormGradient {
        weight: weight_gradient(images, at, &gradient),
        gamma: made.gamma,
        beta: made.beta,
    };
    (
        parameters,
        weight.map(|weight| images_gradient(at, &gradient, weight)),
    )
}

/// `dw`, `[outputs, channels, 3, 3]`.
fn weight_gradient(images: &Buffer, at: &Stem, gradient: &Gradient) -> Buffer {
    let client = &images.client;
    let outputs = gradient.factors.len / ROWS;
    let pixels = at.pixels();
    let shape = Shape::new(at, outputs);
    let block = shape.block;
    let share = Parts::of(pixels.div_ceil(block.units_y));
    let row = shape.groups() * shape.sums() * outputs;
    let parts = Buffer::empty(client, share.rows * row);
    let n = vector::width(&[outputs]);
    // SAFETY: pixels, rows, places and channels are compared with their numbers before each access.
    #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
    unsafe {
        weight_kernel::launch_unchecked(
            client,
            CubeCount::Static(share.rows as u32, (block.blocks * shape.groups()) as u32, 1),
            CubeDim::new_1d(block.units() as u32),
            n,
            images.arg(1),
            gradient.g.arg(n),
            gradient.y.arg(n),
            gradient.factors.arg(n),
            parts.arg(n),
            pixels,
            at.height,
            at.width,
            share.tiles,
            shape,
        );
    }
    let product = Product {
        parts,
        rows: share.rows,
        row,
        first: 0,
        columns: at.channels * TAPS * outputs,
        channels: outputs,
    };
    product.sum()
}

/// The gradient of the images, in their order.
fn images_gradient(at: &Stem, gradient: &Gradient, weight: &Buffer) -> Buffer {
    let outputs = gradient.factors.len / ROWS;
    let out = Buffer::empty(
        &weight.client,
        at.images * at.channels * at.height * at.width,
    );
    let n = vector::width(&[outputs]);
    // SAFETY: values, rows, places and channels are compared with their numbers before each access.
    #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
    unsafe {
        images_kernel::launch_unchecked(
            &weight.client,
            vector::workgroups(out.len, UNITS),
            CubeDim::new_1d(UNITS),
            n,
            gradient.g.arg(n),
            gradient.y.arg(n),
            gradient.factors.arg(n),
            weight.arg(1),
            out.arg(1),
            out.len,
            at.height,
            at.width,
            Shape::new(at, outputs),
        );
    }
    out
}
