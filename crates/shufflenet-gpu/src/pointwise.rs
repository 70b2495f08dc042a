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
use crate::tile::{Tile, copy_right, multiply};
use crate::vector::{self, V4, load, store, valid};

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
    /// Channels of the input's map, and the first that is read.
    row: usize,
    first: usize,
    reading: Reading,
}

#[cube(launch_unchecked)]
fn forward_kernel<N: Size, M: Size>(
    x: &[Vector<f32, N>],
    norm: &[Vector<f32, N>],
    weight: &[f32],
    y: &mut [Vector<f32, M>],
    parts: &mut [Vector<f32, M>],
    pixels: usize,
    tiles: usize,
    #[comptime] shape: Shape,
) {
    let tile = comptime!(shape.tile);
    let mut shared = Shared::<[V4]>::new_slice(comptime!(tile.shared()));
    let unit_x = UNIT_POS as usize % comptime!(tile.units_x);
    let unit_y = UNIT_POS as usize / comptime!(tile.units_x);
    let first_column = CUBE_POS_Y as usize * comptime!(tile.columns());
    let column = first_column + unit_x * 4;
    let columns = valid(column, comptime!(tile.outputs));
    let mut seen = moments::none();
    let mut out = Array::<V4>::new(comptime!(tile.m));
    for number in 0..tiles {
        let first_pixel = (CUBE_POS_X as usize * tiles + number) * comptime!(tile.pixels());
        #[unroll]
        for p in 0..comptime!(tile.m) {
            out[p] = V4::new(0.0);
        }
        for step in 0..comptime!(tile.inner.div_ceil(tile.step)) {
            let start = step * comptime!(tile.step);
            let quads = comptime!(tile.step / 4);
            let mut at = UNIT_POS as usize;
            while at < comptime!(tile.pixels() * (tile.step / 4)) {
                let pixel = first_pixel + at / quads;
                let channel = start + at % quads * 4;
                let mut four = V4::new(0.0);
                let inner = valid(channel, comptime!(tile.inner));
                if pixel < pixels && inner > 0 {
                    let from = pixel * comptime!(shape.row) + comptime!(shape.first) + channel;
                    let value = load::<N>(x, from, inner);
                    four = norm::read::<N>(
                        value,
                        norm,
                        channel,
                        inner,
                        comptime!(tile.inner),
                        comptime!(shape.reading),
                    );
                }
                shared[at / quads * comptime!(tile.left_row()) + at % quads] = four;
                at += comptime!(tile.units());
            }
            copy_right(
                weight,
                &mut shared,
                start,
                first_column,
                comptime!((1, tile.inner)),
                tile,
                comptime!(tile.units()),
            );
            sync_cube();
            multiply(&shared, &mut out, tile);
            sync_cube();
        }
        #[unroll]
        for p in 0..comptime!(tile.m) {
            let pixel = first_pixel + comptime!(p * tile.units_y) + unit_y;
            if pixel < pixels && columns > 0 {
                store::<M>(y, pixel * comptime!(tile.outputs) + column, columns, out[p]);
                moments::add(&mut seen, out[p]);
            }
        }
    }
    moments::write_parts::<M>(
        &seen,
        &mut shared,
        parts,
        CUBE_POS_X as usize,
        column,
        columns,
        comptime!(tile.outputs),
        comptime!(tile.units_x),
        comptime!(tile.units_y),
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
    let tile = Tile::new(inputs, outputs);
    let share = Parts::of(pixels.div_ceil(tile.pixels()));
    let y = Buffer::empty(client, pixels * outputs);
    let parts = Buffer::empty(client, share.rows * PARTS * outputs);
    let (norm, reading) = norm.unwrap_or((weight, Reading::Plain));
    let n = vector::width(&[x.row, x.first, inputs]);
    let m = vector::width(&[outputs]);
    let shape = Shape {
        tile,
        row: x.row,
        first: x.first,
        reading,
    };
    // SAFETY: pixels are compared with `pixels`, and channels with the widths, before each access.
    #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
    unsafe {
        forward_kernel::launch_unchecked(
            client,
            CubeCount::Static(share.rows as u32, tile.blocks as u32, 1),
            CubeDim::new_1d(tile.units() as u32),
            n,
            m,
            x.data.arg(n),
            norm.arg(n),
            weight.arg(1),
            y.arg(m),
            parts.arg(m),
            pixels,
            share.tiles,
            shape,
        );
    }
    let moments = Moments {
        parts,
        rows: share.rows,
        columns: outputs,
    };
    (y, moments)
}
