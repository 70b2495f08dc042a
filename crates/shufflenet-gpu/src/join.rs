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
use crate::parts::Parts;
use crate::pointwise::Columns;
use crate::stored::{Stored, load_value, rounded, store_word};
use crate::traffic::Launch;
use crate::vector::{self, V4};

/// Words of a pixel and rows of a workgroup, a thread each.
const CHANNELS: usize = 32;
const ROWS: usize = 8;

/// Pixels of a thread at a time: their values are on the way together.
const AT_ONCE: usize = 4;

/// Pixels of a workgroup at a time.
const PIXELS: usize = ROWS * AT_ONCE;

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
        /// The convolution's norm.
        norm: &'a Buffer,
        /// The branch's channels.
        channels: usize,
        /// The branch's input, if the unit is residual.
        residual: Option<&'a Columns>,
    },
}

/// How the kernel reads a side.
struct Source {
    channels: usize,
    /// Values from pixel to pixel, and the first that is read.
    row: usize,
    first: usize,
    transformed: bool,
}

impl Side<'_> {
    fn source(&self) -> Source {
        match self {
            Self::Passed { x, channels } => Source {
                channels: *channels,
                row: x.row,
                first: x.first,
                transformed: false,
            },
            Self::Transformed { channels, .. } => Source {
                channels: *channels,
                row: *channels,
                first: 0,
                transformed: true,
            },
        }
    }

    fn residual(&self) -> Option<&Columns> {
        match self {
            Self::Passed { .. } => None,
            Self::Transformed { residual, .. } => *residual,
        }
    }

    /// What is read, and the norm. What a side does not have is not read.
    fn buffers(&self) -> [&Buffer; 2] {
        match self {
            Self::Passed { x, .. } => [&x.data; 2],
            Self::Transformed { y, norm, .. } => [y, norm],
        }
    }
}

/// Copies mean, scale and beta of a channel to `rows`, from number `to` on.
#[cube]
pub(crate) fn copy_norm(
    norm: &[f32],
    channel: usize,
    channels: usize,
    rows: &mut Array<f32>,
    #[comptime] to: usize,
) {
    rows[to] = norm[MEAN * channels + channel];
    rows[comptime!(to + 1)] = norm[SCALE * channels + channel];
    rows[comptime!(to + 2)] = norm[BETA * channels + channel];
}

/// The place in the concatenation of channel `c` of the output.
#[cube]
fn place(c: usize, channels: usize) -> usize {
    c % 2 * (channels / 2) + c / 2
}

/// The channel of the output of place `k` in the concatenation: the inverse of [`place`].
#[cube]
pub(crate) fn shuffled(k: usize, channels: usize) -> usize {
    k % (channels / 2) * 2 + k / (channels / 2)
}

/// A thread computes the channels of a word of some pixels. What the sides are is known at run time, so that all units
/// of all networks share a pipeline: none of the conditions depends on the pixel.
#[cube(launch_unchecked)]
fn join_sides(
    first: &[u32],
    first_norm: &[f32],
    second: &[u32],
    second_norm: &[f32],
    residual: &[u32],
    out: &mut [u32],
    pixels: usize,
    tiles: usize,
    channels: usize,
    left: usize,
    first_row: usize,
    first_channel: usize,
    first_transformed: usize,
    second_row: usize,
    second_channel: usize,
    second_transformed: usize,
    // The side with a residual is 0 or 1; 2 says that there is none.
    residual_side: usize,
    residual_row: usize,
    residual_channel: usize,
    #[comptime] stored: Stored,
) {
    let each = comptime!(stored.in_word());
    let thread = UNIT_POS as usize;
    let c = (CUBE_POS_Y as usize * CHANNELS + thread % CHANNELS) * each;
    if c < channels {
        let mut norms = Array::<f32>::new(comptime!(3 * each));
        #[unroll]
        for e in 0..each {
            let k = place(c + e, channels);
            if k < left {
                if first_transformed == 1 {
                    copy_norm(first_norm, k, left, &mut norms, comptime!(3 * e));
                }
            } else if second_transformed == 1 {
                let right = channels - left;
                copy_norm(second_norm, k - left, right, &mut norms, comptime!(3 * e));
            }
        }
        let mut values = Array::<f32>::new(comptime!(AT_ONCE * each));
        for number in 0..tiles {
            let tile = CUBE_POS_X as usize * tiles + number;
            let first_pixel = tile * PIXELS + thread / CHANNELS;
            #[unroll]
            for p in 0..AT_ONCE {
                let pixel = first_pixel + comptime!(p * ROWS);
                if pixel < pixels {
                    #[unroll]
                    for e in 0..each {
                        let k = place(c + e, channels);
                        if k < left {
                            let at = pixel * first_row + first_channel + k;
                            values[comptime!(p * each + e)] = load_value(first, at, stored);
                        } else {
                            let at = pixel * second_row + second_channel + k - left;
                            values[comptime!(p * each + e)] = load_value(second, at, stored);
                        }
                    }
                }
            }
            #[unroll]
            for p in 0..AT_ONCE {
                let pixel = first_pixel + comptime!(p * ROWS);
                if pixel < pixels {
                    let mut word = V4::new(0.0);
                    #[unroll]
                    for e in 0..each {
                        let k = place(c + e, channels);
                        let mut channel = k;
                        let mut transformed = first_transformed == 1;
                        let mut added = residual_side == 0;
                        if k >= left {
                            channel = k - left;
                            transformed = second_transformed == 1;
                            added = residual_side == 1;
                        }
                        let mut value = values[comptime!(p * each + e)];
                        if transformed {
                            let centred = value - norms[comptime!(3 * e)];
                            let scale = norms[comptime!(3 * e + 1)];
                            let z = fma(centred, scale, norms[comptime!(3 * e + 2)]);
                            // A product keeps NaN: see `vector::relu`.
                            value = z * select(z < 0.0, 0.0, 1.0);
                        }
                        if added {
                            let at = pixel * residual_row + residual_channel + channel;
                            value += load_value(residual, at, stored);
                        }
                        word.insert(e, value);
                    }
                    store_word(out, pixel * channels + c, rounded(word, stored), stored);
                }
            }
        }
    }
}

/// The unit's output, `[pixels, channels of both sides]`. At most one side has a residual.
pub fn join(first: &Side, second: &Side, pixels: usize) -> Buffer {
    let [left, right] = [first, second].map(Side::source);
    let channels = left.channels + right.channels;
    let [a, a_norm] = first.buffers();
    let [b, b_norm] = second.buffers();
    let (residual_side, residual) = match (first.residual(), second.residual()) {
        (Some(residual), _) => (0, Some(residual)),
        (None, Some(residual)) => (1, Some(residual)),
        (None, None) => (2, None),
    };
    let client = &a.client;
    let stored = a.stored;
    // The channels of each side and their parity: see `stored`.
    let widths = [
        left.channels,
        left.row,
        left.first,
        right.channels,
        right.row,
        right.first,
    ];
    vector::check_whole_words(&widths, stored);
    let out = Buffer::map(client, pixels * channels, stored);
    let share = Parts::of(pixels.div_ceil(PIXELS));
    let mut launch = Launch::of("join").writes_all([&out]);
    for side in [first, second] {
        let [data, norm] = side.buffers();
        launch = launch.reads(data, pixels * side.source().channels);
        if side.source().transformed {
            launch = launch.reads_all([norm]);
        }
        if let Some(residual) = side.residual() {
            launch = launch.reads(&residual.data, pixels * side.source().channels);
        }
    }
    launch.run(|| {
        // SAFETY: pixels and channels are compared with their numbers before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            join_sides::launch_unchecked(
                client,
                CubeCount::Static(
                    share.rows as u32,
                    channels.div_ceil(CHANNELS * stored.in_word()) as u32,
                    1,
                ),
                CubeDim::new_1d((CHANNELS * ROWS) as u32),
                a.arg(stored.in_word()),
                a_norm.arg(1),
                b.arg(stored.in_word()),
                b_norm.arg(1),
                residual.map_or(b, |x| &x.data).arg(stored.in_word()),
                out.arg(stored.in_word()),
                pixels,
                share.tiles,
                channels,
                left.channels,
                left.row,
                left.first,
                usize::from(left.transformed),
                right.row,
                right.first,
                usize::from(right.transformed),
                residual_side,
                residual.map_or(0, |x| x.row),
                residual.map_or(0, |x| x.first),
                stored,
            );
        }
    });
    out
}
