//! Both gradients of the 1x1 convolution, in one launch.
//!
//! ```text
//! dx = dy W    (pointwise_gradient.rs),    dW = dy' reading(x)    (weight_gradient.rs)
//! ```
//!
//! Both read the same maps, and neither waits for the other. A workgroup computes one of them: the first rows of the launch
//! compute `dx`, a row for each block of its columns, and the others `dW`, a row for each of its blocks.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::gradient_sums::{Backward, Gradient, GradientSums};
use crate::norm::Reading;
use crate::parts::Parts;
use crate::pointwise::Columns;
use crate::pointwise_gradient::{SUMS, input_gradient};
use crate::product::Product;
use crate::stored::Stored;
use crate::tile::Tile;
use crate::traffic::Launch;
use crate::vector::{self, V4};
use crate::weight_gradient::{Block, weight_products};

#[derive_cube_comptime]
struct Shape {
    tile: Tile,
    block: Block,
    reading: Reading,
    stored: Stored,
}

impl Shape {
    fn threads(&self) -> usize {
        self.tile.threads().max(self.block.threads())
    }

    /// Vectors of shared memory.
    fn shared(&self) -> usize {
        self.tile.shared().max(self.block.shared())
    }
}

#[cube(launch_unchecked)]
fn pointwise_backward<N: Size, W: Size>(
    g: &[Vector<u32, W>],
    y: &[Vector<u32, W>],
    factors: &[Vector<f32, N>],
    weight: &[f32],
    x: &[Vector<u32, W>],
    norm: &[Vector<f32, N>],
    dx: &mut [Vector<u32, W>],
    parts: &mut [Vector<f32, N>],
    pixels: usize,
    outputs: usize,
    inputs: usize,
    row: usize,
    first: usize,
    dx_row: usize,
    dx_first: usize,
    add: usize,
    blocks: usize,
    input_rows: usize,
    input_tiles: usize,
    weight_rows: usize,
    weight_tiles: usize,
    first_product: usize,
    #[comptime] shape: Shape,
) {
    let mut shared = Shared::<[V4]>::new_slice(comptime!(shape.shared()));
    let threads = comptime!(shape.threads());
    let reading = comptime!(shape.reading);
    let stored = comptime!(shape.stored);
    let block = CUBE_POS_X as usize;
    let share = CUBE_POS_Y as usize;
    // The conditions are those of a whole workgroup, so its threads meet at the barriers inside.
    if block < blocks {
        if share < input_rows {
            input_gradient::<N, W>(
                g,
                y,
                factors,
                weight,
                x,
                norm,
                dx,
                parts,
                &mut shared,
                block,
                pixels,
                input_tiles,
                outputs,
                inputs,
                dx_row,
                dx_first,
                add,
                comptime!(shape.tile),
                reading,
                stored,
                threads,
            );
        }
    } else if share < weight_rows {
        // The blocks across `dW` are those of its columns in the input's gradient.
        weight_products::<N, W>(
            g,
            y,
            factors,
            x,
            norm,
            parts,
            &mut shared,
            block - blocks,
            blocks,
            pixels,
            weight_tiles,
            first_product,
            outputs,
            inputs,
            row,
            first,
            comptime!(shape.block),
            reading,
            stored,
            threads,
        );
    }
}

/// The gradients of a convolution that read its input through a norm. `x` is what the norm read, `[pixels, inputs]`.
/// `weight` is `[outputs, inputs]`.
pub fn through_norm(
    gradient: &Gradient,
    pixels: usize,
    weight: &Buffer,
    x: &Buffer,
    (norm, reading): (&Buffer, Reading),
) -> Backward {
    let inputs = x.len / pixels;
    let [x, g] = [x.clone(), Buffer::map(&x.client, x.len, x.stored)].map(|data| Columns {
        data,
        row: inputs,
        first: 0,
    });
    let read = (norm, reading);
    let (parts, rows, product) = launch(gradient, pixels, weight, &x, read, &g, false);
    let sums = GradientSums {
        parts,
        rows,
        row: SUMS * inputs,
        first: 0,
        columns: inputs,
    };
    Backward {
        g: g.data,
        sums,
        weight: product,
    }
}

/// The gradients of a convolution that read its input as it is, that is the channels from the first of `x` on. The gradient
/// of the input is written to as many channels of `dx`, or added to what is there; that of the weight is returned. `weight`
/// is `[outputs, inputs]`.
pub fn into_map(
    gradient: &Gradient,
    pixels: usize,
    weight: &Buffer,
    x: &Columns,
    dx: &Columns,
    add: bool,
) -> Product {
    // No norm is read.
    let read = (gradient.factors, Reading::Plain);
    let (_, _, product) = launch(gradient, pixels, weight, x, read, dx, add);
    product
}

/// The partial sums: those of the norm with their number of rows, and the product.
fn launch(
    gradient: &Gradient,
    pixels: usize,
    weight: &Buffer,
    x: &Columns,
    (norm, reading): (&Buffer, Reading),
    to: &Columns,
    add: bool,
) -> (Buffer, usize, Product) {
    let client = &weight.client;
    let outputs = gradient.y.len / pixels;
    let inputs = weight.len / outputs;
    let shape = Shape {
        tile: Tile::new(inputs),
        block: Block::new(outputs, inputs),
        reading,
        stored: x.data.stored,
    };
    let [down, across] = shape.block.blocks(outputs, inputs);
    let of_input = Parts::of(pixels.div_ceil(shape.tile.pixels()));
    let of_weight = Block::share(down * across, pixels);
    // The norm's sums come first in `parts`, if there are some, and the products behind them.
    let sums = match reading {
        Reading::Plain => 0,
        Reading::Norm | Reading::NormRelu => of_input.rows * SUMS * inputs,
    };
    let first_product = sums.next_multiple_of(4);
    let values = outputs * inputs;
    let parts = Buffer::empty(client, first_product + of_weight.rows * values);
    let widths = [outputs, inputs, x.row, x.first, to.row, to.first];
    let n = vector::width(&widths, shape.stored);
    let rows = of_input.rows.max(of_weight.rows);
    // Both halves of the launch read the maps.
    let [of_y, of_x] = [outputs, inputs].map(|channels| pixels * channels);
    let launch = Launch::of("1x1, backward")
        .reads(gradient.g, 2 * of_y)
        .reads(gradient.y, 2 * of_y)
        .reads(&x.data, of_x)
        .reads_all([gradient.factors, weight])
        .reads_by(norm, reading)
        .writes(&to.data, of_x)
        .writes_all([&parts]);
    let launch = match reading {
        Reading::Plain if !add => launch,
        // What the gradient is added to, or what the norm read.
        _ => launch.reads(&to.data, of_x),
    };
    launch.run(|| {
        // SAFETY: pixels are compared with `pixels`, and channels with the widths, before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            pointwise_backward::launch_unchecked(
                client,
                CubeCount::Static((across + down * across) as u32, rows as u32, 1),
                CubeDim::new_1d(shape.threads() as u32),
                n,
                n / shape.stored.in_word(),
                gradient.g.arg(n),
                gradient.y.arg(n),
                gradient.factors.arg(n),
                weight.arg(1),
                x.data.arg(n),
                norm.arg(n),
                to.data.arg(n),
                parts.arg(n),
                pixels,
                outputs,
                inputs,
                x.row,
                x.first,
                to.row,
                to.first,
                usize::from(add),
                across,
                of_input.rows,
                of_input.tiles,
                of_weight.rows,
                of_weight.tiles,
                first_product,
                shape,
            );
        }
    });
    let product = Product {
        parts: parts.clone(),
        rows: of_weight.rows,
        row: values,
        first: first_product,
        columns: values,
        channels: 1,
    };
    (parts, of_input.rows, product)
}
