//! The matrix product of a workgroup: a tile of pixels times a block of the weight's columns.
//!
//! ```text
//! out[pixel, o] = sum over i of left[pixel, i] right[i, o]
//! ```
//!
//! `i` runs in steps. For each step the units copy a piece of both operands to shared memory: of the left `pixels x step`
//! values, which the kernel computes as it likes while it reads them, and of the right `step x columns`. A unit holds
//! `m` pixels of four columns in registers.

use cubecl::prelude::*;

use crate::vector::V4;

/// Vectors of four values in 16 KiB.
const SHARED: usize = 1024;
const MOST_UNITS: usize = 256;
const WIDEST_BLOCK: usize = 64;

/// The sizes of a tile. They follow from the product's shape.
#[derive_cube_comptime]
pub struct Tile {
    /// Values that an output sums over.
    pub inner: usize,
    /// Columns of the output.
    pub outputs: usize,
    /// Workgroups side by side, each with a block of the columns.
    pub blocks: usize,
    /// Units side by side, each with four columns.
    pub units_x: usize,
    pub units_y: usize,
    /// Pixels of a unit.
    pub m: usize,
    /// Inner values in shared memory at a time, a multiple of four.
    pub step: usize,
}

impl Tile {
    pub fn new(inner: usize, outputs: usize) -> Self {
        let blocks = outputs.div_ceil(WIDEST_BLOCK);
        let units_x = outputs.div_ceil(blocks).div_ceil(4);
        let units_y = MOST_UNITS / units_x / 2 * 2;
        let fewest = |&step: &usize| (inner.div_ceil(step) * step, MOST_UNITS - step);
        let step = [16, 12, 8].into_iter().min_by_key(fewest).unwrap_or(16);
        let fits = |m: &usize| units_y * m * (step / 4 + 1) + step * units_x <= SHARED;
        let m = [8, 4, 2].into_iter().find(fits).unwrap_or(1);
        Self {
            inner,
            outputs,
            blocks,
            units_x,
            units_y,
            m,
            step,
        }
    }

    /// Pixels of a tile.
    pub fn pixels(&self) -> usize {
        self.units_y * self.m
    }

    /// Columns of a block.
    pub fn columns(&self) -> usize {
        4 * self.units_x
    }

    pub fn units(&self) -> usize {
        self.units_x * self.units_y
    }

    /// Vectors in shared memory from one pixel of the left operand to the next. One vector of padding spreads the
    /// pixels over the memory's banks.
    pub fn left_row(&self) -> usize {
        self.step / 4 + 1
    }

    /// Where the right operand begins in shared memory.
    pub fn right(&self) -> usize {
        self.pixels() * self.left_row()
    }

    /// Vectors of shared memory that the operands take, or the sums after them, whichever is more.
    pub fn shared(&self) -> usize {
        (self.right() + self.step * self.units_x).max(3 * self.units())
    }
}

/// Copies the right operand's piece from row `start` on, with `units` units. The value of row `i` and column `o` is
/// `weight[i strides.0 + o strides.1]`.
#[cube]
pub(crate) fn copy_right(
    weight: &[f32],
    shared: &mut Shared<[V4]>,
    start: usize,
    first_column: usize,
    #[comptime] strides: (usize, usize),
    #[comptime] tile: Tile,
    #[comptime] units: usize,
) {
    let mut at = UNIT_POS as usize;
    while at < comptime!(tile.step * tile.units_x) {
        let i = start + at / comptime!(tile.units_x);
        let column = first_column + at % comptime!(tile.units_x) * 4;
        let mut four = V4::new(0.0);
        #[unroll]
        for j in 0..4usize {
            if i < comptime!(tile.inner) && column + j < comptime!(tile.outputs) {
                four.insert(
                    j,
                    weight[i * comptime!(strides.0) + (column + j) * comptime!(strides.1)],
                );
            }
        }
        shared[comptime!(tile.right()) + at] = four;
        at += units;
    }
}

/// Adds the product of the pieces in shared memory to the unit's pixels. Pixel `p` of a unit is number `p units_y + y` of
/// the tile.
#[cube]
pub(crate) fn multiply(shared: &Shared<[V4]>, out: &mut Array<V4>, #[comptime] tile: Tile) {
    let x = UNIT_POS as usize % comptime!(tile.units_x);
    let y = UNIT_POS as usize / comptime!(tile.units_x);
    for i in 0..comptime!(tile.step / 4) {
        let right = comptime!(tile.right()) + i * comptime!(4 * tile.units_x) + x;
        let first = shared[right];
        let second = shared[right + comptime!(tile.units_x)];
        let third = shared[right + comptime!(2 * tile.units_x)];
        let fourth = shared[right + comptime!(3 * tile.units_x)];
        #[unroll]
        for p in 0..comptime!(tile.m) {
            let left = shared[(comptime!(p * tile.units_y) + y) * comptime!(tile.left_row()) + i];
            let mut sum = out[p];
            sum = fma(V4::new(left.extract(0usize)), first, sum);
            sum = fma(V4::new(left.extract(1usize)), second, sum);
            sum = fma(V4::new(left.extract(2usize)), third, sum);
            sum = fma(V4::new(left.extract(3usize)), fourth, sum);
            out[p] = sum;
        }
    }
}
