//! The end of a unit: concatenation of its two sides and shuffle by two groups.
//!
//! With `cat` the sides one after the other, `channels` in all:
//!
//! ```text
//! out[c] = cat[(c mod 2) channels / 2 + c / 2]
//! ```
//!
//! A side passes channels of the unit's input on, or is a branch that ends in norm and ReLU, which the kernel applies while
//! it reads; a residual unit adds the branch's input.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::norm::{BETA, MEAN, SCALE};
use crate::pointwise::Columns;
use crate::vector::{self, V4, store, valid};

/// Units of a workgroup.
const UNITS: u32 = 256;

/// A side of a unit.
pub enum Side<'a> {
    /// Channels of the unit's input.
    Passed {
        /// The input, from the first channel that is passed on.
        x: &'a Columns,
        /// How many are passed on.
        channels: usize,
    },
    /// `relu(norm(y))`, and `residual` added to it.
    Transformed {
        /// The branch's last convolution's output, `[pixels, channels]`.
        y: &'a Buffer,
        /// Its norm.
        norm: &'a Buffer,
        /// The branch's channels.
        channels: usize,
        /// The branch's input, if the unit is residual.
        residual: Option<&'a Columns>,
    },
}

/// How a kernel reads a side.
#[derive_cube_comptime]
struct Source {
    channels: usize,
    /// Values from pixel to pixel, and the first that is read.
    row: usize,
    first: usize,
    transformed: bool,
    /// Row and first channel of the residual.
    residual: Option<(usize, usize)>,
}

impl Side<'_> {
    fn source(&self) -> Source {
        match self {
            Self::Passed { x, channels } => Source {
                channels: *channels,
                row: x.row,
                first: x.first,
                transformed: false,
                residual: None,
            },
            Self::Transformed {
                channels, residual, ..
            } => Source {
                channels: *channels,
                row: *channels,
                first: 0,
                transformed: true,
                residual: residual.map(|x| (x.row, x.first)),
            },
        }
    }

    /// What is read, the norm, and the residual. What a side does not have is not read.
    fn buffers(&self) -> [&Buffer; 3] {
        match self {
            Self::Passed { x, .. } => [&x.data; 3],
            Self::Transformed {
                y, norm, residual, ..
            } => [y, norm, residual.map_or(y, |x| &x.data)],
        }
    }
}

/// `scale (y - mean) + beta` of one channel.
#[cube]
pub(crate) fn normed(y: f32, norm: &[f32], channel: usize, #[comptime] channels: usize) -> f32 {
    let scale = norm[comptime!(SCALE * channels) + channel];
    let beta = norm[comptime!(BETA * channels) + channel];
    fma(y - norm[comptime!(MEAN * channels) + channel], scale, beta)
}

/// The value of one channel of a side.
#[cube]
fn value(
    data: &[f32],
    norm: &[f32],
    residual: &[f32],
    pixel: usize,
    channel: usize,
    #[comptime] source: Source,
) -> f32 {
    let mut value = data[pixel * comptime!(source.row) + comptime!(source.first) + channel];
    if comptime!(source.transformed) {
        let z = normed(value, norm, channel, comptime!(source.channels));
        // A product keeps NaN: see `vector::relu`.
        value = z * select(z < 0.0, 0.0, 1.0);
    }
    if comptime!(source.residual.is_some()) {
        let (row, first) = comptime!(source.residual.unwrap_or_default());
        value += residual[pixel * row + first + channel];
    }
    value
}

#[cube(launch_unchecked)]
fn join_kernel<N: Size>(
    first: &[f32],
    first_norm: &[f32],
    second: &[f32],
    second_norm: &[f32],
    residual: &[f32],
    out: &mut [Vector<f32, N>],
    pixels: usize,
    #[comptime] sources: (Source, Source),
) {
    let channels = comptime!(sources.0.channels + sources.1.channels);
    let quads = comptime!(channels.div_ceil(4));
    let at = ABSOLUTE_POS;
    let pixel = at / quads;
    let channel = at % quads * 4;
    if pixel < pixels {
        let mut four = V4::new(0.0);
        #[unroll]
        for j in 0..4usize {
            let c = channel + j;
            if c < channels {
                let from = c % 2 * comptime!(channels / 2) + c / 2;
                let left = comptime!(sources.0.channels);
                if from < left {
                    four.insert(
                        j,
                        value(first, first_norm, residual, pixel, from, sources.0),
                    );
                } else {
                    four.insert(
                        j,
                        value(second, second_norm, residual, pixel, from - left, sources.1),
                    );
                }
            }
        }
        let columns = valid(channel, channels);
        store::<N>(out, pixel * channels + channel, columns, four);
    }
}

/// The unit's output, `[pixels, channels of both sides]`. At most one side has a residual.
pub fn join(first: &Side, second: &Side, pixels: usize) -> Buffer {
    let sources = (first.source(), second.source());
    let channels = sources.0.channels + sources.1.channels;
    let [a, a_norm, a_residual] = first.buffers();
    let [b, b_norm, b_residual] = second.buffers();
    let residual = if sources.0.residual.is_some() {
        a_residual
    } else {
        b_residual
    };
    let client = &a.client;
    let out = Buffer::empty(client, pixels * channels);
    let n = vector::width(&[channels]);
    let units = pixels * channels.div_ceil(4);
    // SAFETY: pixels and channels are compared with their numbers before each access.
    #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
    unsafe {
        join_kernel::launch_unchecked(
            client,
            vector::workgroups(units, UNITS),
            CubeDim::new_1d(UNITS),
            n,
            a.arg(1),
            a_norm.arg(1),
            b.arg(1),
            b_norm.arg(1),
            residual.arg(1),
            out.arg(n),
            pixels,
            sources,
        );
    }
    out
}
