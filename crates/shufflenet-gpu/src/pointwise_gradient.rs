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

use crate::norm;
use crate::parts::write_sums;
use crate::tile::{Tile, copy_right, multiply};
use crate::vector::{V4, load, store, valid};

/// What becomes of the gradient.
#[derive_cube_comptime]
pub(crate) enum Writing {
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
pub(crate) const SUMS: usize = 2;

#[derive_cube_comptime]
pub(crate) struct Shape {
    pub tile: Tile,
    /// Channels of the written map, and the first that is written.
    pub row: usize,
    pub first: usize,
    pub writing: Writing,
}

impl Shape {
    pub fn through_norm(&self) -> bool {
        matches!(self.writing, Writing::Norm | Writing::NormRelu)
    }
}

/// What a workgroup of `units` units does for block number `block` of the columns. There may be more units than the tile has:
/// these only copy.
#[cube]
pub(crate) fn input_gradient<N: Size, M: Size>(
    g: &[Vector<f32, N>],
    y: &[Vector<f32, N>],
    factors: &[Vector<f32, N>],
    weight: &[f32],
    x: &[Vector<f32, M>],
    norm: &[Vector<f32, M>],
    out: &mut [Vector<f32, M>],
    parts: &mut [Vector<f32, M>],
    shared: &mut Shared<[V4]>,
    block: usize,
    pixels: usize,
    tiles: usize,
    #[comptime] shape: Shape,
    #[comptime] units: usize,
) {
    let tile = comptime!(shape.tile);
    let through_norm = comptime!(shape.through_norm());
    let unit_x = UNIT_POS as usize % comptime!(tile.units_x);
    let unit_y = UNIT_POS as usize / comptime!(tile.units_x);
    let first_column = block * comptime!(tile.columns());
    let column = first_column + unit_x * 4;
    let mut columns = 0usize;
    if unit_y < comptime!(tile.units_y) {
        columns = valid(column, comptime!(tile.outputs));
    }
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
                at += units;
            }
            let strides = comptime!((tile.outputs, 1));
            copy_right(weight, shared, start, first_column, strides, tile, units);
            sync_cube();
            if unit_y < comptime!(tile.units_y) {
                multiply(&*shared, &mut out_of_tile, tile);
            }
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
            shared,
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
