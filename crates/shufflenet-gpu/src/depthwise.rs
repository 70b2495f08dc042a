//! The depthwise 3x3 convolution, padded by one, forward.
//!
//! ```text
//! y[i, j] = sum over u, v of w[u, v] z[i stride + u - 1, j stride + v - 1],    z = reading(x),    and the moments of y
//! ```
//!
//! `z` is zero outside the map. A thread computes strips of four neighbouring outputs of a row, for four channels: it
//! reads 3 x 6 vectors in stride 1 and 3 x 9 in stride 2. Neighbouring strips read some of them again, from the cache.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::moments::{self, Moments, PARTS};
use crate::norm::{self, Reading};
use crate::parts::Parts;
use crate::pointwise::Columns;
use crate::stored::{Stored, load_map, rounded, store_map};
use crate::traffic::Launch;
use crate::vector::{self, V4, valid};

/// Taps of a channel.
pub(crate) const TAPS: usize = 9;

/// Outputs of a strip.
const STRIP: usize = 4;

/// Threads of a workgroup, some of them idle.
pub(crate) const THREADS: usize = 256;
const WIDEST_BLOCK: usize = 32;

/// Most vectors of the taps of a block.
pub(crate) const TAPS_SHARED: usize = TAPS * WIDEST_BLOCK / 4;

/// The workgroups of a launch: `threads_x` threads side by side have four channels each. Kernels are given these sizes
/// at run time, so that all widths share a pipeline.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// Workgroups side by side, each with a block of the channels.
    pub blocks: usize,
    pub threads_x: usize,
    pub threads_y: usize,
}

impl Block {
    pub fn new(channels: usize) -> Self {
        let blocks = channels.div_ceil(WIDEST_BLOCK);
        let threads_x = channels.div_ceil(blocks).div_ceil(4);
        Self {
            blocks,
            threads_x,
            threads_y: THREADS / threads_x,
        }
    }
}

/// Copies the nine taps of the block of channels from `first_column` on to shared memory, `threads_x` vectors a tap.
/// `weight` is `[channels, 1, 3, 3]`. The caller sees to the barrier behind it.
#[cube]
pub(crate) fn copy_taps(
    weight: &[f32],
    shared: &mut Shared<[V4]>,
    first_column: usize,
    channels: usize,
    threads_x: usize,
) {
    let thread = UNIT_POS as usize;
    if thread < TAPS * threads_x {
        let tap = thread / threads_x;
        let column = first_column + thread % threads_x * 4;
        let mut four = V4::new(0.0);
        #[unroll]
        for i in 0..4usize {
            if column + i < channels {
                four.insert(i, weight[(column + i) * TAPS + tap]);
            }
        }
        shared[thread] = four;
    }
}

#[derive_cube_comptime]
struct Shape {
    stride: usize,
    reading: Reading,
    stored: Stored,
}

#[cube(launch_unchecked)]
fn depthwise_forward<N: Size, W: Size>(
    x: &[Vector<u32, W>],
    norm: &[Vector<f32, N>],
    weight: &[f32],
    y: &mut [Vector<u32, W>],
    parts: &mut [Vector<f32, N>],
    images: usize,
    height: usize,
    width: usize,
    tiles: usize,
    channels: usize,
    threads_x: usize,
    threads_y: usize,
    row: usize,
    first: usize,
    #[comptime] shape: Shape,
) {
    let stride = comptime!(shape.stride);
    let stored = comptime!(shape.stored);
    let mut shared = Shared::<[V4]>::new_slice(comptime!(PARTS * THREADS));
    let mut taps = Shared::<[V4]>::new_slice(TAPS_SHARED);
    let thread_x = UNIT_POS as usize % threads_x;
    let thread_y = UNIT_POS as usize / threads_x;
    let first_column = CUBE_POS_Y as usize * threads_x * 4;
    let column = first_column + thread_x * 4;
    let mut columns = 0usize;
    if thread_y < threads_y {
        columns = valid(column, channels);
    }
    let rows = height.div_ceil(stride);
    let row_outputs = width.div_ceil(stride);
    let strips = row_outputs.div_ceil(STRIP);
    copy_taps(weight, &mut taps, first_column, channels, threads_x);
    sync_cube();
    let reading = comptime!(shape.reading);
    let norm = norm::rows::<N>(norm, column, columns, channels, reading);
    let mut seen = moments::none();
    let mut out = Array::<V4>::new(STRIP);
    let mut taps_of_row = Array::<V4>::new(3usize);
    for number in 0..tiles {
        let strip = (CUBE_POS_X as usize * tiles + number) * threads_y + thread_y;
        let line = strip / strips;
        let j = strip % strips * STRIP;
        let i = line % rows;
        let image = line / rows;
        let here = image < images && columns > 0;
        #[unroll]
        for p in 0..STRIP {
            out[p] = V4::new(0.0);
        }
        for u in 0..3usize {
            // Row and place are counted with the padding, so from 1 on.
            let from_row = i * stride + u;
            let row_here = here && from_row >= 1 && from_row <= height;
            #[unroll]
            for v in 0..3usize {
                taps_of_row[v] = taps[(3 * u + v) * threads_x + thread_x];
            }
            #[unroll]
            for k in 0..comptime!((STRIP - 1) * stride + 3) {
                let place = j * stride + k;
                let mut z = V4::new(0.0);
                if row_here && place >= 1 && place <= width {
                    let pixel = (image * height + from_row - 1) * width + place - 1;
                    let value = load_map::<W>(x, pixel * row + first + column, columns, stored);
                    z = norm::read_by(value, &norm, reading);
                }
                #[unroll]
                for p in 0..STRIP {
                    if comptime!(k >= p * stride && k < p * stride + 3) {
                        out[p] = fma(taps_of_row[comptime!(k - p * stride)], z, out[p]);
                    }
                }
            }
        }
        #[unroll]
        for p in 0..STRIP {
            if here && j + p < row_outputs {
                let pixel = line * row_outputs + j + p;
                let value = rounded(out[p], stored);
                store_map::<W>(y, pixel * channels + column, columns, value, stored);
                moments::add(&mut seen, value);
            }
        }
    }
    moments::write_parts::<N>(
        &seen,
        &mut shared,
        parts,
        CUBE_POS_X as usize,
        column,
        columns,
        channels,
        threads_x,
        threads_y,
        THREADS,
    );
}

/// Computes `y`, `[output pixels, channels]`, from channels of `x`, in stride 1 or 2. A side of the output is that of the
/// input over the stride, rounded up.
///
/// `norm` is that of `x`, if `reading` names one. `weight` is `[channels, 1, 3, 3]`.
pub fn forward(
    x: &Columns,
    [images, height, width]: [usize; 3],
    stride: usize,
    norm: Option<(&Buffer, Reading)>,
    weight: &Buffer,
) -> (Buffer, Moments) {
    let client = &x.data.client;
    let channels = weight.len / TAPS;
    let block = Block::new(channels);
    let [rows, row_outputs] = [height, width].map(|side| side.div_ceil(stride));
    let strips = images * rows * row_outputs.div_ceil(STRIP);
    let share = Parts::of(strips.div_ceil(block.threads_y));
    let stored = x.data.stored;
    let y = Buffer::map(client, images * rows * row_outputs * channels, stored);
    let parts = Buffer::empty(client, share.rows * PARTS * channels);
    let (norm, reading) = norm.unwrap_or((weight, Reading::Plain));
    let n = vector::width(&[x.row, x.first, channels], stored);
    let launch = Launch::of("depthwise")
        .reads(&x.data, images * height * width * channels)
        .reads_all([weight])
        .reads_by(norm, reading)
        .writes_all([&y, &parts]);
    launch.run(|| {
        // SAFETY: images, rows, places and channels are compared with their numbers before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            depthwise_forward::launch_unchecked(
                client,
                CubeCount::Static(share.rows as u32, block.blocks as u32, 1),
                CubeDim::new_1d(THREADS as u32),
                n,
                n / stored.in_word(),
                x.data.arg(n),
                norm.arg(n),
                weight.arg(1),
                y.arg(n),
                parts.arg(n),
                images,
                height,
                width,
                share.tiles,
                channels,
                block.threads_x,
                block.threads_y,
                x.row,
                x.first,
                Shape {
                    stride,
                    reading,
                    stored,
                },
            );
        }
    });
    let moments = Moments {
        parts,
        rows: share.rows,
        columns: channels,
    };
    (y, moments)
}
