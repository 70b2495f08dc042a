//! The gradient of the 1x1 convolution's weight. [`crate::pointwise_backward`] launches it.
//!
//! ```text
//! dW[o, i] = sum over pixels of dy[pixel, o] reading(x)[pixel, i]
//! ```
//!
//! with `dy` and the reading of `x` made while they are read ([`crate::norm`]). A workgroup computes a block of `dW`, at
//! most 64 x 64, over its share of the pixels. A unit holds 4 x 4 values of the block. Where a block needs few units,
//! several groups of units take turns at the pixels. The shares' products are added later ([`crate::product`]).

use cubecl::prelude::*;

use crate::norm::{self, Reading};
use crate::parts::Parts;
use crate::vector::{V4, load, store, valid};

const WIDEST_BLOCK: usize = 64;
const MOST_UNITS: usize = 256;
/// Pixels in shared memory at a time.
const PIXELS: usize = 16;
/// Most workgroups of a launch.
const MOST_WORKGROUPS: usize = 512;

#[derive_cube_comptime]
pub(crate) struct Shape {
    outputs: usize,
    inputs: usize,
    /// Blocks of `dW`, down and across.
    blocks: (usize, usize),
    /// Units of a block, down and across, four rows and columns each.
    units: (usize, usize),
    /// Groups of units that take turns at the pixels.
    groups: usize,
    /// Channels of the input's map, and the first that is read.
    row: usize,
    first: usize,
    reading: Reading,
}

impl Shape {
    pub fn new(outputs: usize, inputs: usize, row: usize, first: usize, reading: Reading) -> Self {
        let blocks = (
            outputs.div_ceil(WIDEST_BLOCK),
            inputs.div_ceil(WIDEST_BLOCK),
        );
        let units = (
            outputs.div_ceil(blocks.0).div_ceil(4),
            inputs.div_ceil(blocks.1).div_ceil(4),
        );
        let groups = (MOST_UNITS / (units.0 * units.1)).clamp(1, PIXELS);
        Self {
            outputs,
            inputs,
            blocks,
            units,
            groups,
            row,
            first,
            reading,
        }
    }

    /// How the pixels are shared out.
    pub fn share(&self, pixels: usize) -> Parts {
        Parts::at_most(
            (MOST_WORKGROUPS / self.blocks()).max(1),
            pixels.div_ceil(PIXELS),
        )
    }

    /// Workgroups of a share.
    pub fn blocks(&self) -> usize {
        self.blocks.0 * self.blocks.1
    }

    /// Values of `dW`.
    pub fn values(&self) -> usize {
        self.outputs * self.inputs
    }

    /// Units of a group.
    fn group(&self) -> usize {
        self.units.0 * self.units.1
    }

    pub fn units(&self) -> usize {
        self.group() * self.groups
    }

    /// Vectors of shared memory: both operands, or four sums a unit after them.
    pub fn shared(&self) -> usize {
        (PIXELS * (self.units.0 + self.units.1)).max(4 * self.units())
    }
}

/// What a workgroup of `units` units does for block number `block` of `dW`. Its row of products is behind the first
/// `first_part` values of `parts`. There may be more units than the block has: these only copy.
#[cube]
pub(crate) fn weight_products<N: Size, M: Size>(
    g: &[Vector<f32, N>],
    y: &[Vector<f32, N>],
    factors: &[Vector<f32, N>],
    x: &[Vector<f32, M>],
    norm: &[Vector<f32, M>],
    parts: &mut [Vector<f32, M>],
    shared: &mut Shared<[V4]>,
    block: usize,
    pixels: usize,
    tiles: usize,
    first_part: usize,
    #[comptime] shape: Shape,
    #[comptime] units: usize,
) {
    let (down, across) = comptime!(shape.units);
    let own_units = comptime!(shape.units());
    let unit = UNIT_POS as usize;
    let group = unit / comptime!(shape.group());
    let place = unit % comptime!(shape.group());
    let unit_o = place / across;
    let unit_i = place % across;
    let first_o = block / comptime!(shape.blocks.1) * comptime!(4 * down);
    let first_i = block % comptime!(shape.blocks.1) * comptime!(4 * across);
    let mut sums = Array::<V4>::new(4usize);
    #[unroll]
    for j in 0..4 {
        sums[j] = V4::new(0.0);
    }
    for number in 0..tiles {
        let first_pixel = (CUBE_POS_X as usize * tiles + number) * PIXELS;
        let mut at = unit;
        while at < comptime!(PIXELS * down) {
            let pixel = first_pixel + at / down;
            let channel = first_o + at % down * 4;
            let columns = valid(channel, comptime!(shape.outputs));
            let mut four = V4::new(0.0);
            if pixel < pixels && columns > 0 {
                let from = pixel * comptime!(shape.outputs) + channel;
                let g = load::<N>(g, from, columns);
                let y = load::<N>(y, from, columns);
                four =
                    norm::gradient::<N>(g, y, factors, channel, columns, comptime!(shape.outputs));
            }
            shared[at] = four;
            at += units;
        }
        let mut at = unit;
        while at < comptime!(PIXELS * across) {
            let pixel = first_pixel + at / across;
            let channel = first_i + at % across * 4;
            let columns = valid(channel, comptime!(shape.inputs));
            let mut four = V4::new(0.0);
            if pixel < pixels && columns > 0 {
                let from = pixel * comptime!(shape.row) + comptime!(shape.first) + channel;
                let x = load::<M>(x, from, columns);
                let inputs = comptime!(shape.inputs);
                four = norm::read::<M>(x, norm, channel, columns, inputs, comptime!(shape.reading));
            }
            shared[comptime!(PIXELS * down) + at] = four;
            at += units;
        }
        sync_cube();
        let mut pixel = group;
        if unit >= own_units {
            pixel = comptime!(PIXELS);
        }
        while pixel < PIXELS {
            let dy = shared[pixel * down + unit_o];
            let x = shared[comptime!(PIXELS * down) + pixel * across + unit_i];
            #[unroll]
            for j in 0..4usize {
                sums[j] = fma(V4::new(dy.extract(j)), x, sums[j]);
            }
            pixel += comptime!(shape.groups);
        }
        sync_cube();
    }
    if unit < own_units {
        #[unroll]
        for j in 0..4usize {
            shared[comptime!(j * own_units) + unit] = sums[j];
        }
    }
    sync_cube();
    if group == 0 {
        let column = first_i + unit_i * 4;
        let columns = valid(column, comptime!(shape.inputs));
        #[unroll]
        for j in 0..4usize {
            let output = first_o + unit_o * 4 + j;
            if output < comptime!(shape.outputs) && columns > 0 {
                let mut sum = V4::new(0.0);
                for other in 0..comptime!(shape.groups) {
                    sum +=
                        shared[comptime!(j * own_units) + other * comptime!(shape.group()) + place];
                }
                let row = CUBE_POS_X as usize * comptime!(shape.values());
                let to = first_part + row + output * comptime!(shape.inputs) + column;
                store::<M>(parts, to, columns, sum);
            }
        }
    }
}
