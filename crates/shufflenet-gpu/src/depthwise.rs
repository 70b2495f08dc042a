//! The depthwise 3x3 convolution, padded by one, forward.
//!
//! ```text
//! y[i, j] = sum over u, v of w[u, v] z[i stride + u - 1, j stride + v - 1],    z = reading(x),    and the moments of y
//! ```
//!
//! `z` is zero outside the map. A unit computes strips of four neighbouring outputs of a row, for four channels: it
//! reads 3 x 6 vectors in stride 1 and 3 x 9 in stride 2. Neighbouring strips read some of them again, from the cache.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::moments::{self, Moments, PARTS};
use crate::norm::{self, Reading};
use crate::parts::Parts;
use crate::pointwise::Columns;
use crate::vector::{self, V4, load, store, valid};

/// Taps of a channel.
pub(crate) const TAPS: usize = 9;

/// Outputs of a strip.
const STRIP: usize = 4;

const MOST_UNITS: usize = 256;
const WIDEST_BLOCK: usize = 32;

/// The workgroups of a launch: `units_x` units side by side have four channels each.
#[derive_cube_comptime]
pub(crate) struct Block {
    pub channels: usize,
    /// Workgroups side by side, each with a block of the channels.
    pub blocks: usize,
    pub units_x: usize,
    pub units_y: usize,
}

impl Block {
    pub fn new(channels: usize) -> Self {
        let blocks = channels.div_ceil(WIDEST_BLOCK);
        let units_x = channels.div_ceil(blocks).div_ceil(4);
        Self {
            channels,
            blocks,
            units_x,
            units_y: MOST_UNITS / units_x,
        }
    }

    pub fn units(&self) -> usize {
        self.units_x * self.units_y
    }

    /// Channels of a block.
    pub fn width(&self) -> usize {
        4 * self.units_x
    }
}

/// The nine taps of the channels from `column` on. `weight` is `[channels, 1, 3, 3]`.
#[cube]
pub(crate) fn taps(weight: &[f32], column: usize, valid: usize) -> Array<V4> {
    let mut taps = Array::<V4>::new(TAPS);
    #[unroll]
    for tap in 0..TAPS {
        let mut four = V4::new(0.0);
        #[unroll]
        for i in 0..4usize {
            if i < valid {
                four.insert(i, weight[(column + i) * TAPS + tap]);
            }
        }
        taps[tap] = four;
    }
    taps
}

#[derive_cube_comptime]
struct Shape {
    block: Block,
    stride: usize,
    /// Channels of the input's map, and the first that is read.
    row: usize,
    first: usize,
    reading: Reading,
}

#[cube(launch_unchecked)]
fn forward_kernel<N: Size, M: Size>(
    x: &[Vector<f32, N>],
    norm: &[Vector<f32, M>],
    weight: &[f32],
    y: &mut [Vector<f32, M>],
    parts: &mut [Vector<f32, M>],
    images: usize,
    height: usize,
    width: usize,
    tiles: usize,
    #[comptime] shape: Shape,
) {
    let block = comptime!(shape.block);
    let stride = comptime!(shape.stride);
    let mut shared = Shared::<[V4]>::new_slice(comptime!(PARTS * block.units()));
    let unit_x = UNIT_POS as usize % comptime!(block.units_x);
    let unit_y = UNIT_POS as usize / comptime!(block.units_x);
    let column = CUBE_POS_Y as usize * comptime!(block.width()) + unit_x * 4;
    let columns = valid(column, comptime!(block.channels));
    let rows = height.div_ceil(stride);
    let row_outputs = width.div_ceil(stride);
    let strips = row_outputs.div_ceil(STRIP);
    let taps = taps(weight, column, columns);
    let norm = norm::rows::<M>(
        norm,
        column,
        columns,
        comptime!(block.channels),
        comptime!(shape.reading),
    );
    let mut seen = moments::none();
    let mut out = Array::<V4>::new(STRIP);
    for number in 0..tiles {
        let strip = (CUBE_POS_X as usize * tiles + number) * comptime!(block.units_y) + unit_y;
        let line = strip / strips;
        let j = strip % strips * STRIP;
        let i = line % rows;
        let image = line / rows;
        let here = image < images && columns > 0;
        #[unroll]
        for p in 0..STRIP {
            out[p] = V4::new(0.0);
        }
        #[unroll]
        for u in 0..3usize {
            // Row and place are counted with the padding, so from 1 on.
            let row = i * stride + u;
            let row_here = here && row >= 1 && row <= height;
            #[unroll]
            for k in 0..comptime!((STRIP - 1) * stride + 3) {
                let place = j * stride + k;
                let mut z = V4::new(0.0);
                if row_here && place >= 1 && place <= width {
                    let pixel = (image * height + row - 1) * width + place - 1;
                    let from = pixel * comptime!(shape.row) + comptime!(shape.first) + column;
                    let value = load::<N>(x, from, columns);
                    z = norm::read_by(value, &norm, comptime!(shape.reading));
                }
                #[unroll]
                for p in 0..STRIP {
                    if comptime!(k >= p * stride && k < p * stride + 3) {
                        out[p] = fma(taps[comptime!(3 * u + k - p * stride)], z, out[p]);
                    }
                }
            }
        }
        #[unroll]
        for p in 0..STRIP {
            if here && j + p < row_outputs {
                let pixel = line * row_outputs + j + p;
                store::<M>(
                    y,
                    pixel * comptime!(block.channels) + column,
                    columns,
                    out[p],
                );
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
        comptime!(block.channels),
        comptime!(block.units_x),
        comptime!(block.units_y),
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
    let share = Parts::of(strips.div_ceil(block.units_y));
    let y = Buffer::empty(client, images * rows * row_outputs * channels);
    let parts = Buffer::empty(client, share.rows * PARTS * channels);
    let (norm, reading) = norm.unwrap_or((weight, Reading::Plain));
    let n = vector::width(&[x.row, x.first, channels]);
    let m = vector::width(&[channels]);
    let shape = Shape {
        block,
        stride,
        row: x.row,
        first: x.first,
        reading,
    };
    // SAFETY: images, rows, places and channels are compared with their numbers before each access.
    #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
    unsafe {
        forward_kernel::launch_unchecked(
            client,
            CubeCount::Static(share.rows as u32, block.blocks as u32, 1),
            CubeDim::new_1d(block.units() as u32),
            n,
            m,
            x.data.arg(n),
            norm.arg(m),
            weight.arg(1),
            y.arg(m),
            parts.arg(m),
            images,
            height,
            width,
            share.tiles,
            shape,
        );
    }
    let moments = Moments {
        parts,
        rows: share.rows,
        columns: channels,
    };
    (y, moments)
}
