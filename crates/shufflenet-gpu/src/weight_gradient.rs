//! The gradient of the 1x1 convolution's weight. [`crate::pointwise_backward`] launches it.
//!
//! ```text
//! dW[o, i] = sum over pixels of dy[pixel, o] reading(x)[pixel, i]
//! ```
//!
//! with `dy` and the reading of `x` made while they are read ([`crate::norm`]). A workgroup computes a block of `dW`, at
//! most 64 x 64, over its share of the pixels. A thread holds 4 x 4 values of the block. Where a block needs few threads,
//! several groups of threads take turns at the pixels. The shares' products are added later ([`crate::product`]).
//!
//! The stem's weight has the same product, with the windows of the images in the place of `reading(x)`
//! (`stem_gradient.rs`).

use cubecl::prelude::*;

use crate::MOST_THREADS;
use crate::norm::{self, Reading};
use crate::parts::Parts;
use crate::stored::{Stored, load_map};
use crate::tile::threads_across;
use crate::vector::{V4, store, valid};

/// Pixels in shared memory at a time.
pub(crate) const PIXELS: usize = 16;
/// Most workgroups of a launch.
const MOST_WORKGROUPS: usize = 512;

/// The threads of a workgroup.
#[derive_cube_comptime]
pub(crate) struct Block {
    /// Threads down and across, four rows and columns of `dW` each.
    pub down: usize,
    pub across: usize,
    /// Groups of threads that take turns at the pixels.
    pub groups: usize,
}

impl Block {
    pub fn new(outputs: usize, inputs: usize) -> Self {
        let [down, across] = [outputs, inputs].map(threads_across);
        Self {
            down,
            across,
            groups: (MOST_THREADS / (down * across)).clamp(1, PIXELS),
        }
    }

    /// Blocks down and across `dW`.
    pub fn blocks(&self, outputs: usize, inputs: usize) -> [usize; 2] {
        [
            outputs.div_ceil(4 * self.down),
            inputs.div_ceil(4 * self.across),
        ]
    }

    /// How the pixels are shared out, where `blocks` workgroups have a share.
    pub fn share(blocks: usize, pixels: usize) -> Parts {
        Parts::at_most((MOST_WORKGROUPS / blocks).max(1), pixels.div_ceil(PIXELS))
    }

    /// Threads of a group.
    fn group(&self) -> usize {
        self.down * self.across
    }

    pub fn threads(&self) -> usize {
        self.group() * self.groups
    }

    /// Vectors of shared memory: both operands, or four sums a thread after them.
    pub fn shared(&self) -> usize {
        (PIXELS * (self.down + self.across)).max(4 * self.threads())
    }

    /// Where the right operand begins in shared memory.
    pub fn right(&self) -> usize {
        PIXELS * self.down
    }
}

/// What a workgroup of `threads` threads does for block number `block` of `dW`, of which `blocks_across` are side by
/// side. Its row of products is behind the first `first_part` values of `parts`. Threads that the block does not need
/// only copy. The input's channels are the `inputs` from the `first` on of a map of `row` channels.
#[cube]
pub(crate) fn weight_products<N: Size, W: Size>(
    g: &[Vector<u32, W>],
    y: &[Vector<u32, W>],
    factors: &[Vector<f32, N>],
    x: &[Vector<u32, W>],
    norm: &[Vector<f32, N>],
    parts: &mut [Vector<f32, N>],
    shared: &mut Shared<[V4]>,
    block: usize,
    blocks_across: usize,
    pixels: usize,
    tiles: usize,
    first_part: usize,
    outputs: usize,
    inputs: usize,
    row: usize,
    first: usize,
    #[comptime] sizes: Block,
    #[comptime] reading: Reading,
    #[comptime] stored: Stored,
    #[comptime] threads: usize,
) {
    let first_o = block / blocks_across * comptime!(4 * sizes.down);
    let first_i = block % blocks_across * comptime!(4 * sizes.across);
    let mut sums = no_products();
    for number in 0..tiles {
        let first_pixel = (CUBE_POS_Y as usize * tiles + number) * PIXELS;
        copy_gradient::<N, W>(
            g,
            y,
            factors,
            shared,
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
            let channel = first_i + at % comptime!(sizes.across) * 4;
            let columns = valid(channel, inputs);
            let mut four = V4::new(0.0);
            if pixel < pixels && columns > 0 {
                let x = load_map::<W>(x, pixel * row + first + channel, columns, stored);
                four = norm::read::<N>(x, norm, channel, columns, inputs, reading);
            }
            shared[comptime!(sizes.right()) + at] = four;
            at += threads;
        }
        sync_cube();
        add_products(&*shared, &mut sums, sizes);
        sync_cube();
    }
    let part = first_part + CUBE_POS_Y as usize * outputs * inputs;
    write_products::<N>(
        &sums, shared, parts, part, first_o, first_i, outputs, inputs, sizes,
    );
}

#[cube]
pub(crate) fn no_products() -> Array<V4> {
    let mut sums = Array::<V4>::new(4usize);
    #[unroll]
    for j in 0..4usize {
        sums[j] = V4::new(0.0);
    }
    sums
}

/// Copies `dy` of the pixels from `first_pixel` on, and the channels from `first_o` on, to shared memory: the left operand.
#[cube]
pub(crate) fn copy_gradient<N: Size, W: Size>(
    g: &[Vector<u32, W>],
    y: &[Vector<u32, W>],
    factors: &[Vector<f32, N>],
    shared: &mut Shared<[V4]>,
    first_pixel: usize,
    first_o: usize,
    pixels: usize,
    outputs: usize,
    #[comptime] sizes: Block,
    #[comptime] stored: Stored,
    #[comptime] threads: usize,
) {
    let mut at = UNIT_POS as usize;
    while at < comptime!(PIXELS * sizes.down) {
        let pixel = first_pixel + at / comptime!(sizes.down);
        let channel = first_o + at % comptime!(sizes.down) * 4;
        let columns = valid(channel, outputs);
        let mut four = V4::new(0.0);
        if pixel < pixels && columns > 0 {
            let from = pixel * outputs + channel;
            let g = load_map::<W>(g, from, columns, stored);
            let y = load_map::<W>(y, from, columns, stored);
            four = norm::gradient::<N>(g, y, factors, channel, columns, outputs);
        }
        shared[at] = four;
        at += threads;
    }
}

/// Adds the products of the pixels in shared memory.
#[cube]
pub(crate) fn add_products(shared: &Shared<[V4]>, sums: &mut Array<V4>, #[comptime] sizes: Block) {
    let thread = UNIT_POS as usize;
    let place = thread % comptime!(sizes.group());
    let thread_o = place / comptime!(sizes.across);
    let thread_i = place % comptime!(sizes.across);
    let mut pixel = thread / comptime!(sizes.group());
    if thread >= comptime!(sizes.threads()) {
        pixel = comptime!(PIXELS);
    }
    while pixel < PIXELS {
        let dy = shared[pixel * comptime!(sizes.down) + thread_o];
        let x = shared[comptime!(sizes.right()) + pixel * comptime!(sizes.across) + thread_i];
        #[unroll]
        for j in 0..4usize {
            sums[j] = fma(V4::new(dy.extract(j)), x, sums[j]);
        }
        pixel += comptime!(sizes.groups);
    }
}

/// Adds what the groups of threads have summed, and writes the block's part of a row of products, which begins at `part`.
/// `shared` is not in use when all threads call this together.
#[cube]
pub(crate) fn write_products<N: Size>(
    sums: &Array<V4>,
    shared: &mut Shared<[V4]>,
    parts: &mut [Vector<f32, N>],
    part: usize,
    first_o: usize,
    first_i: usize,
    outputs: usize,
    inputs: usize,
    #[comptime] sizes: Block,
) {
    let threads = comptime!(sizes.threads());
    let thread = UNIT_POS as usize;
    if thread < threads {
        #[unroll]
        for j in 0..4usize {
            shared[comptime!(j * threads) + thread] = sums[j];
        }
    }
    sync_cube();
    if thread < comptime!(sizes.group()) {
        let column = first_i + thread % comptime!(sizes.across) * 4;
        let columns = valid(column, inputs);
        for j in 0..4usize {
            let output = first_o + thread / comptime!(sizes.across) * 4 + j;
            if output < outputs && columns > 0 {
                let mut sum = V4::new(0.0);
                for other in 0..comptime!(sizes.groups) {
                    sum += shared[j * threads + other * comptime!(sizes.group()) + thread];
                }
                store::<N>(parts, part + output * inputs + column, columns, sum);
            }
        }
    }
}
