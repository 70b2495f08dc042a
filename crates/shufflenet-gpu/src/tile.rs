//! The matrix product of a workgroup: a tile of pixels times a block of the weight's columns.
//!
//! ```text
//! out[pixel, o] = sum over i of left[pixel, i] right[i, o]
//! ```
//!
//! `i` runs in steps. For each step the threads copy a piece of both operands to shared memory: of the left `pixels x STEP`
//! values, which the kernel computes as it likes while it reads them, and of the right `STEP x columns`. A thread holds
//! `m` pixels of four columns in registers.
//!
//! A tile shapes the code, and each shape is one more pipeline that the driver compiles. So there are four, and the
//! product's own sizes are known at run time only.

use cubecl::prelude::*;

use crate::MOST_THREADS;
use crate::vector::V4;

/// Vectors of four values in 16 KiB.
const SHARED: usize = 1024;
const WIDEST_BLOCK: usize = 64;

/// Inner values in shared memory at a time.
pub(crate) const STEP: usize = 16;
/// Vectors of inner values in shared memory at a time.
pub(crate) const QUADS: usize = STEP / 4;

/// Threads side by side in a block of `columns` columns, four columns each. The few numbers fit the published networks: 24
/// and 48 channels exactly, and what is wider at most three columns in each 64.
pub(crate) fn threads_across(columns: usize) -> usize {
    let needed = columns.div_ceil(columns.div_ceil(WIDEST_BLOCK)).div_ceil(4);
    [6, 8, 12]
        .into_iter()
        .find(|&threads| needed <= threads)
        .unwrap_or(WIDEST_BLOCK / 4)
}

/// The sizes of a tile.
#[derive_cube_comptime]
pub struct Tile {
    /// Threads side by side, each with four columns.
    pub threads_x: usize,
    pub threads_y: usize,
    /// Pixels of a thread.
    pub m: usize,
}

impl Tile {
    /// The tile of a product with `outputs` columns.
    pub fn new(outputs: usize) -> Self {
        Self::beside(outputs, 0)
    }

    /// The same, of a kernel that has `taken` more vectors in shared memory.
    pub fn beside(outputs: usize, taken: usize) -> Self {
        let threads_x = threads_across(outputs);
        let threads_y = MOST_THREADS / threads_x / 2 * 2;
        let fits = |m: &usize| threads_y * m * (QUADS + 1) + STEP * threads_x + taken <= SHARED;
        let m = [8, 4, 2].into_iter().find(fits).unwrap_or(1);
        Self {
            threads_x,
            threads_y,
            m,
        }
    }

    /// Workgroups side by side, each with a block of the columns.
    pub fn blocks(&self, outputs: usize) -> usize {
        outputs.div_ceil(self.columns())
    }

    /// Pixels of a tile.
    pub fn pixels(&self) -> usize {
        self.threads_y * self.m
    }

    /// Columns of a block.
    pub fn columns(&self) -> usize {
        4 * self.threads_x
    }

    pub fn threads(&self) -> usize {
        self.threads_x * self.threads_y
    }

    /// Vectors in shared memory from one pixel of the left operand to the next. One vector of padding spreads the
    /// pixels over the memory's banks.
    pub fn left_row(&self) -> usize {
        QUADS + 1
    }

    /// Where the right operand begins in shared memory.
    pub fn right(&self) -> usize {
        self.pixels() * self.left_row()
    }

    /// Vectors of shared memory that the operands take.
    pub fn operands(&self) -> usize {
        self.right() + STEP * self.threads_x
    }

    /// Vectors of shared memory that the operands take, or the sums after them, whichever is more.
    pub fn shared(&self) -> usize {
        self.operands().max(3 * self.threads())
    }
}

/// Copies the right operand's piece from row `start` on, with `threads` threads. The value of row `i` and column `o` is
/// `weight[i row_stride + o column_stride]`, of `inner` rows and `outputs` columns.
#[cube]
pub(crate) fn copy_right(
    weight: &[f32],
    shared: &mut Shared<[V4]>,
    start: usize,
    first_column: usize,
    inner: usize,
    outputs: usize,
    row_stride: usize,
    column_stride: usize,
    #[comptime] tile: Tile,
    #[comptime] threads: usize,
) {
    let mut at = UNIT_POS as usize;
    while at < comptime!(STEP * tile.threads_x) {
        let i = start + at / comptime!(tile.threads_x);
        let column = first_column + at % comptime!(tile.threads_x) * 4;
        let mut four = V4::new(0.0);
        #[unroll]
        for j in 0..4usize {
            if i < inner && column + j < outputs {
                four.insert(j, weight[i * row_stride + (column + j) * column_stride]);
            }
        }
        shared[comptime!(tile.right()) + at] = four;
        at += threads;
    }
}

/// Adds the product of the pieces in shared memory to the thread's pixels. Pixel `p` of a thread is number `p threads_y
/// + y` of the tile. Of the `left` inner values that are left, the piece has the first [`STEP`].
#[cube]
pub(crate) fn multiply(
    shared: &Shared<[V4]>,
    out: &mut Array<V4>,
    left: usize,
    #[comptime] tile: Tile,
) {
    let x = UNIT_POS as usize % comptime!(tile.threads_x);
    let y = UNIT_POS as usize / comptime!(tile.threads_x);
    let mut quads = left.div_ceil(4);
    if quads > QUADS {
        quads = QUADS.runtime();
    }
    for i in 0..quads {
        let right = comptime!(tile.right()) + i * comptime!(4 * tile.threads_x) + x;
        let first = shared[right];
        let second = shared[right + comptime!(tile.threads_x)];
        let third = shared[right + comptime!(2 * tile.threads_x)];
        let fourth = shared[right + comptime!(3 * tile.threads_x)];
        #[unroll]
        for p in 0..comptime!(tile.m) {
            let left = shared[(comptime!(p * tile.threads_y) + y) * comptime!(tile.left_row()) + i];
            let mut sum = out[p];
            sum = fma(V4::new(left.extract(0usize)), first, sum);
            sum = fma(V4::new(left.extract(1usize)), second, sum);
            sum = fma(V4::new(left.extract(2usize)), third, sum);
            sum = fma(V4::new(left.extract(3usize)), fourth, sum);
            out[p] = sum;
        }
    }
}
