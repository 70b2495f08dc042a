//! The gradient of the 1x1 convolution's input. [`crate::pointwise_backward`] launches it.
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

use crate::norm::{self, MEAN, Reading};
use crate::parts::write_sums;
use crate::stored::{Stored, load_map, rounded, store_map};
use crate::tile::{QUADS, STEP, Tile, copy_right, multiply};
use crate::vector::{V4, valid};

/// Rows of a workgroup's partial sums.
pub(crate) const SUMS: usize = 2;

/// What a workgroup of `threads` threads does for block number `block` of the columns. Threads that the tile does not
/// need only copy. The gradient is written to the `inputs` channels from the `first` on of a map of `row` channels. If
/// the input was read as it is, and `add` is 1, the gradient is added to what is there.
#[cube]
pub(crate) fn input_gradient<N: Size, W: Size>(
    g: &[Vector<u32, W>],
    y: &[Vector<u32, W>],
    factors: &[Vector<f32, N>],
    weight: &[f32],
    x: &[Vector<u32, W>],
    norm: &[Vector<f32, N>],
    out: &mut [Vector<u32, W>],
    parts: &mut [Vector<f32, N>],
    shared: &mut Shared<[V4]>,
    block: usize,
    pixels: usize,
    tiles: usize,
    outputs: usize,
    inputs: usize,
    row: usize,
    first: usize,
    add: usize,
    #[comptime] tile: Tile,
    #[comptime] reading: Reading,
    #[comptime] stored: Stored,
    #[comptime] threads: usize,
) {
    let thread_x = UNIT_POS as usize % comptime!(tile.threads_x);
    let thread_y = UNIT_POS as usize / comptime!(tile.threads_x);
    let first_column = block * comptime!(tile.columns());
    let column = first_column + thread_x * 4;
    let mut columns = 0usize;
    if thread_y < comptime!(tile.threads_y) {
        columns = valid(column, inputs);
    }
    let mut sums = Array::<V4>::new(SUMS);
    #[unroll]
    for i in 0..SUMS {
        sums[i] = V4::new(0.0);
    }
    let mut out_of_tile = Array::<V4>::new(comptime!(tile.m));
    for number in 0..tiles {
        let first_pixel = (CUBE_POS_Y as usize * tiles + number) * comptime!(tile.pixels());
        #[unroll]
        for p in 0..comptime!(tile.m) {
            out_of_tile[p] = V4::new(0.0);
        }
        for step in 0..outputs.div_ceil(STEP) {
            let start = step * STEP;
            let mut at = UNIT_POS as usize;
            while at < comptime!(tile.pixels() * QUADS) {
                let pixel = first_pixel + at / QUADS;
                let channel = start + at % QUADS * 4;
                let inner = valid(channel, outputs);
                let mut four = V4::new(0.0);
                if pixel < pixels && inner > 0 {
                    let from = pixel * outputs + channel;
                    let g = load_map::<W>(g, from, inner, stored);
                    let y = load_map::<W>(y, from, inner, stored);
                    four = norm::gradient::<N>(g, y, factors, channel, inner, outputs);
                }
                shared[at / QUADS * comptime!(tile.left_row()) + at % QUADS] = four;
                at += threads;
            }
            copy_right(
                weight,
                shared,
                start,
                first_column,
                outputs,
                inputs,
                inputs,
                1,
                tile,
                threads,
            );
            sync_cube();
            if thread_y < comptime!(tile.threads_y) {
                multiply(&*shared, &mut out_of_tile, outputs - start, tile);
            }
            sync_cube();
        }
        let norm = norm::rows::<N>(norm, column, columns, inputs, reading);
        #[unroll]
        for p in 0..comptime!(tile.m) {
            let pixel = first_pixel + comptime!(p * tile.threads_y) + thread_y;
            if pixel < pixels && columns > 0 {
                let to = pixel * row + first + column;
                let mut value = out_of_tile[p];
                if comptime!(reading == Reading::Plain) {
                    if add == 1 {
                        value += load_map::<W>(&*out, to, columns, stored);
                    }
                    value = rounded(value, stored);
                } else {
                    let x = load_map::<W>(x, to, columns, stored);
                    if comptime!(reading == Reading::NormRelu) {
                        let z = norm::read_by(x, &norm, Reading::Norm);
                        let zero = V4::new(0.0);
                        value = select_many(z.less_equal(&zero), zero, value);
                    }
                    value = rounded(value, stored);
                    sums[0] += value;
                    sums[1] = fma(value, x - norm[MEAN], sums[1]);
                }
                store_map::<W>(out, to, columns, value, stored);
            }
        }
    }
    if comptime!(reading != Reading::Plain) {
        write_sums::<N>(
            &sums,
            shared,
            parts,
            CUBE_POS_Y as usize,
            column,
            columns,
            inputs,
            comptime!(tile.threads_x),
            comptime!(tile.threads_y),
            SUMS,
            comptime!(tile.threads()),
        );
    }
}
