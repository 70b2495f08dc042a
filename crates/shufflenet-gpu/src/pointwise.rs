//! The 1x1 convolution, forward.
//!
//! ```text
//! y = reading(x) W',    and the moments of y
//! ```

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::moments::{self, Moments, PARTS};
use crate::norm::{self, Reading};
use crate::parts::Parts;
use crate::stored::{Stored, load_map, rounded, store_map};
use crate::tile::{QUADS, STEP, Tile, copy_right, multiply};
use crate::traffic::Launch;
use crate::vector::{self, V4, valid};

/// Some channels of a map: `[pixels, row]` values, of which the channels from `first` on are meant.
#[derive(Clone)]
pub struct Columns {
    /// The map.
    pub data: Buffer,
    /// Channels of the map.
    pub row: usize,
    /// The first channel that is meant.
    pub first: usize,
}

#[derive_cube_comptime]
struct Shape {
    tile: Tile,
    reading: Reading,
    stored: Stored,
}

#[cube(launch_unchecked)]
fn pointwise_forward<N: Size, W: Size>(
    x: &[Vector<u32, W>],
    norm: &[Vector<f32, N>],
    weight: &[f32],
    y: &mut [Vector<u32, W>],
    parts: &mut [Vector<f32, N>],
    pixels: usize,
    tiles: usize,
    inputs: usize,
    outputs: usize,
    row: usize,
    first: usize,
    #[comptime] shape: Shape,
) {
    let tile = comptime!(shape.tile);
    let stored = comptime!(shape.stored);
    let mut shared = Shared::<[V4]>::new_slice(comptime!(tile.shared()));
    let thread_x = UNIT_POS as usize % comptime!(tile.threads_x);
    let thread_y = UNIT_POS as usize / comptime!(tile.threads_x);
    let first_column = CUBE_POS_X as usize * comptime!(tile.columns());
    let column = first_column + thread_x * 4;
    let columns = valid(column, outputs);
    let mut seen = moments::none();
    let mut out = Array::<V4>::new(comptime!(tile.m));
    for number in 0..tiles {
        let first_pixel = (CUBE_POS_Y as usize * tiles + number) * comptime!(tile.pixels());
        #[unroll]
        for p in 0..comptime!(tile.m) {
            out[p] = V4::new(0.0);
        }
        for step in 0..inputs.div_ceil(STEP) {
            let start = step * STEP;
            let mut at = UNIT_POS as usize;
            while at < comptime!(tile.pixels() * QUADS) {
                let pixel = first_pixel + at / QUADS;
                let channel = start + at % QUADS * 4;
                let mut four = V4::new(0.0);
                let inner = valid(channel, inputs);
                if pixel < pixels && inner > 0 {
                    let value = load_map::<W>(x, pixel * row + first + channel, inner, stored);
                    let reading = comptime!(shape.reading);
                    four = norm::read::<N>(value, norm, channel, inner, inputs, reading);
                }
                shared[at / QUADS * comptime!(tile.left_row()) + at % QUADS] = four;
                at += comptime!(tile.threads());
            }
            copy_right(
                weight,
                &mut shared,
                start,
                first_column,
                inputs,
                outputs,
                1,
                inputs,
                tile,
                comptime!(tile.threads()),
            );
            sync_cube();
            multiply(&shared, &mut out, inputs - start, tile);
            sync_cube();
        }
        #[unroll]
        for p in 0..comptime!(tile.m) {
            let pixel = first_pixel + comptime!(p * tile.threads_y) + thread_y;
            if pixel < pixels && columns > 0 {
                let value = rounded(out[p], stored);
                store_map::<W>(y, pixel * outputs + column, columns, value, stored);
                moments::add(&mut seen, value);
            }
        }
    }
    moments::write_parts::<N>(
        &seen,
        &mut shared,
        parts,
        CUBE_POS_Y as usize,
        column,
        columns,
        outputs,
        comptime!(tile.threads_x),
        comptime!(tile.threads_y),
        comptime!(tile.threads()),
    );
}

/// Computes `y`, `[pixels, outputs]`, from `inputs` channels of `x`.
///
/// `norm` is that of `x`, if `reading` names one. `weight` is `[outputs, inputs]`.
pub fn forward(
    x: &Columns,
    pixels: usize,
    inputs: usize,
    norm: Option<(&Buffer, Reading)>,
    weight: &Buffer,
) -> (Buffer, Moments) {
    let client = &x.data.client;
    let outputs = weight.len / inputs;
    let tile = Tile::new(outputs);
    let share = Parts::of(pixels.div_ceil(tile.pixels()));
    let stored = x.data.stored;
    let y = Buffer::map(client, pixels * outputs, stored);
    let parts = Buffer::empty(client, share.rows * PARTS * outputs);
    let (norm, reading) = norm.unwrap_or((weight, Reading::Plain));
    let n = vector::width(&[x.row, x.first, inputs, outputs], stored);
    let launch = Launch::of("1x1")
        .reads(&x.data, pixels * inputs)
        .reads_all([weight])
        .reads_by(norm, reading)
        .writes_all([&y, &parts]);
    launch.run(|| {
        // SAFETY: pixels are compared with `pixels`, and channels with the widths, before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            pointwise_forward::launch_unchecked(
                client,
                CubeCount::Static(tile.blocks(outputs) as u32, share.rows as u32, 1),
                CubeDim::new_1d(tile.threads() as u32),
                n,
                n / stored.in_word(),
                x.data.arg(n),
                norm.arg(n),
                weight.arg(1),
                y.arg(n),
                parts.arg(n),
                pixels,
                share.tiles,
                inputs,
                outputs,
                x.row,
                x.first,
                Shape {
                    tile,
                    reading,
                    stored,
                },
            );
        }
    });
    let moments = Moments {
        parts,
        rows: share.rows,
        columns: outputs,
    };
    (y, moments)
}
