//! The gradient of the 1x1 convolution's input.
//!
//! With `g` the gradient of the output's batch norm and `dy` made of it while it is read ([`crate::norm`]):
//!
//! ```text
//! dx = dy W
//! ```
//!
//! If the convolution read its input through a norm, the kernel writes the gradient of that norm's output, which is zero
//! where a ReLU was, and gathers the norm's two sums ([`crate::gradient_sums`]).

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::gradient_sums::{Gradient, GradientSums};
use crate::norm::{self, Reading};
use crate::parts::{Parts, write_sums};
use crate::pointwise::Columns;
use crate::tile::{Tile, copy_right, multiply};
use crate::vector::{self, V4, load, store, valid};

/// What becomes of the gradient.
#[derive_cube_comptime]
enum Writing {
    /// It is written to the map.
    Store,
    /// It is added to the map.
    Add,
    /// The input was read through a norm.
    Norm,
    /// The input was read through a norm and ReLU.
    NormRelu,
}

/// Rows of a workgroup's partial sums.
const SUMS: usize = 2;

#[derive_cube_comptime]
struct Shape {
    tile: Tile,
    /// Channels of the written map, and the first that is written.
    row: usize,
    first: usize,
    writing: Writing,
}

#[cube(launch_unchecked)]
fn kernel<N: Size, M: Size>(
    g: &[Vector<f32, N>],
    y: &[Vector<f32, N>],
    factors: &[Vector<f32, N>],
    weight: &[f32],
    x: &[Vector<f32, M>],
    norm: &[Vector<f32, M>],
    out: &mut [Vector<f32, M>],
    parts: &mut [Vector<f32, M>],
    pixels: usize,
    tiles: usize,
    #[comptime] shape: Shape,
) {
    let tile = comptime!(shape.tile);
    let through_norm = comptime!(matches!(shape.writing, Writing::Norm | Writing::NormRelu));
    let mut shared = Shared::<[V4]>::new_slice(comptime!(tile.shared()));
    let unit_x = UNIT_POS as usize % comptime!(tile.units_x);
    let unit_y = UNIT_POS as usize / comptime!(tile.units_x);
    let first_column = CUBE_POS_Y as usize * comptime!(tile.columns());
    let column = first_column + unit_x * 4;
    let columns = valid(column, comptime!(tile.outputs));
    let mut sums = Array::<V4>::new(SUMS);
    #[unroll]
    for i in 0..SUMS {
        sums[i] = V4::new(0.0);
    }
    let mut out_of_tile = Array::<V4>::new(comptime!(tile.m));
    for number in 0..tiles {
        let first_pixel = (CUBE_POS_X as usize * tiles + number) * comptime!(tile.pixels());
        #[unroll]
        for p in 0..comptime!(tile.m) {
            out_of_tile[p] = V4::new(0.0);
        }
        for step in 0..comptime!(tile.inner.div_ceil(tile.step)) {
            let start = step * comptime!(tile.step);
            let quads = comptime!(tile.step / 4);
            let mut at = UNIT_POS as usize;
            while at < comptime!(tile.pixels() * (tile.step / 4)) {
                let pixel = first_pixel + at / quads;
                let channel = start + at % quads * 4;
                let inner = valid(channel, comptime!(tile.inner));
                let mut four = V4::new(0.0);
                if pixel < pixels && inner > 0 {
                    let from = pixel * comptime!(tile.inner) + channel;
                    let g = load::<N>(g, from, inner);
                    let y = load::<N>(y, from, inner);
                    four =
                        norm::gradient::<N>(g, y, factors, channel, inner, comptime!(tile.inner));
                }
                shared[at / quads * comptime!(tile.left_row()) + at % quads] = four;
                at += comptime!(tile.units());
            }
            let strides = comptime!((tile.outputs, 1));
            copy_right(weight, &mut shared, start, first_column, strides, tile);
            sync_cube();
            multiply(&shared, &mut out_of_tile, tile);
            sync_cube();
        }
        #[unroll]
        for p in 0..comptime!(tile.m) {
            let pixel = first_pixel + comptime!(p * tile.units_y) + unit_y;
            if pixel < pixels && columns > 0 {
                let to = pixel * comptime!(shape.row) + comptime!(shape.first) + column;
                let mut value = out_of_tile[p];
                if through_norm {
                    let outputs = comptime!(tile.outputs);
                    let x = load::<M>(x, pixel * outputs + column, columns);
                    if comptime!(matches!(shape.writing, Writing::NormRelu)) {
                        let z = norm::normed::<M>(x, norm, column, columns, outputs);
                        let zero = V4::new(0.0);
                        value = select_many(z.less_equal(&zero), zero, value);
                    }
                    let mean = load::<M>(norm, comptime!(norm::MEAN * outputs) + column, columns);
                    sums[0] += value;
                    sums[1] = fma(value, x - mean, sums[1]);
                }
                if comptime!(matches!(shape.writing, Writing::Add)) {
                    value += load::<M>(&*out, to, columns);
                }
                store::<M>(out, to, columns, value);
            }
        }
    }
    if through_norm {
        write_sums::<M>(
            &sums,
            &mut shared,
            parts,
            CUBE_POS_X as usize,
            column,
            columns,
            SUMS,
            comptime!(tile.outputs),
            comptime!(tile.units_x),
            comptime!(tile.units_y),
        );
    }
}

/// The gradient through the norm that the input was read by: `g` of that norm, `[pixels, inputs]`, and its sums. `x` is
/// what the norm read, `[pixels, inputs]`. `weight` is `[outputs, inputs]`.
pub fn through_norm(
    gradient: &Gradient,
    pixels: usize,
    weight: &Buffer,
    x: &Buffer,
    (norm, reading): (&Buffer, Reading),
) -> (Buffer, GradientSums) {
    let inputs = x.len / pixels;
    let g = Buffer::empty(&x.client, x.len);
    let writing = match reading {
        Reading::NormRelu => Writing::NormRelu,
        Reading::Norm | Reading::Plain => Writing::Norm,
    };
    let to = Columns {
        data: g.clone(),
        row: inputs,
        first: 0,
    };
    let (parts, rows) = launch(
        gradient,
        pixels,
        weight,
        Some((x, norm)),
        &to,
        inputs,
        writing,
    );
    let sums = GradientSums {
        parts,
        rows,
        row: SUMS * inputs,
        first: 0,
        columns: inputs,
    };
    (g, sums)
}

/// The gradient of an input that was read as it is: written to `inputs` channels of `dx`, or added to what is there.
/// `weight` is `[outputs, inputs]`.
pub fn into_map(
    gradient: &Gradient,
    pixels: usize,
    weight: &Buffer,
    dx: &Columns,
    inputs: usize,
    add: bool,
) {
    let writing = if add { Writing::Add } else { Writing::Store };
    launch(gradient, pixels, weight, None, dx, inputs, writing);
}

fn launch(
    gradient: &Gradient,
    pixels: usize,
    weight: &Buffer,
    input: Option<(&Buffer, &Buffer)>,
    to: &Columns,
    inputs: usize,
    writing: Writing,
) -> (Buffer, usize) {
    let client = &weight.client;
    let outputs = weight.len / inputs;
    let tile = Tile::new(outputs, inputs);
    let share = Parts::of(pixels.div_ceil(tile.pixels()));
    let parts = Buffer::empty(client, share.rows * SUMS * inputs);
    // A kernel without a norm reads neither.
    let (x, norm) = input.unwrap_or((&parts, &parts));
    let n = vector::width(&[outputs]);
    let m = vector::width(&[inputs, to.row, to.first]);
    let shape = Shape {
        tile,
        row: to.row,
        first: to.first,
        writing,
    };
    // SAFETY: pixels are compared with `pixels`, and channels with the widths, before each access.
    #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
    unsafe {
        kernel::launch_unchecked(
            client,
            CubeCount::Static(share.rows as u32, tile.blocks as u32, 1),
            CubeDim::new_1d(tile.units() as u32),
            n,
            m,
            gradient.g.arg(n),
            gradient.y.arg(n),
            gradient.factors.arg(n),
            weight.arg(1),
            x.arg(m),
            norm.arg(m),
            to.data.arg(m),
            parts.arg(m),
            pixels,
            share.tiles,
            shape,
        );
    }
    (parts, share.rows)
}
