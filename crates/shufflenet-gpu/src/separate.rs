//! The backward of [`crate::join`]: the gradient of a unit's output, separated into its sides'.
//!
//! ```text
//! dcat[k] = dout[2 k]                       for k < channels / 2
//! dcat[k] = dout[2 (k - channels / 2) + 1]  otherwise
//! ```
//!
//! Of a branch the kernel writes `g`, the gradient of the branch's last norm, which is zero where the ReLU was, and gathers
//! the norm's two sums. Channels that the unit passes on go to the gradient of the unit's input, and so does a residual
//! unit's gradient of the branch.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::gradient_sums::GradientSums;
use crate::join::copy_norm;
use crate::parts::Parts;
use crate::stored::{Stored, load_value, store_word};
use crate::traffic::Launch;
use crate::vector::{self, V4};

/// Words of a pixel and pixels of a workgroup, a thread each.
const CHANNELS: usize = 32;
const PIXELS: usize = 8;

/// A thread computes the channels of a word of some pixels, of one side. What the first side is is known at run time,
/// so that all units of all networks share a pipeline: none of the conditions depends on the pixel. The second side is
/// a branch.
#[cube(launch_unchecked)]
fn separate_sides(
    dout: &[u32],
    first_y: &[u32],
    first_norm: &[f32],
    second_y: &[u32],
    second_norm: &[f32],
    first_out: &mut [u32],
    second_out: &mut [u32],
    parts: &mut [f32],
    pixels: usize,
    tiles: usize,
    left: usize,
    right: usize,
    // Values from pixel to pixel where the first side is written, and whether that is a branch.
    first_row: usize,
    first_transformed: usize,
    // Whether the second side's gradient is also written behind the first side's.
    residual: usize,
    #[comptime] stored: Stored,
) {
    let each = comptime!(stored.in_word());
    let threads = comptime!(CHANNELS * PIXELS);
    let channels = left + right;
    let half = channels / 2;
    let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * threads * each));
    let thread = UNIT_POS as usize;
    // The thread's first channel in the concatenation.
    let k = (CUBE_POS_Y as usize * CHANNELS + thread % CHANNELS) * each;
    let of_first = k < left;
    let mut transformed = true;
    let mut norms = Array::<f32>::new(comptime!(3 * each));
    let mut s = Array::<f32>::new(each);
    let mut t = Array::<f32>::new(each);
    #[unroll]
    for e in 0..each {
        s[e] = 0.0f32;
        t[e] = 0.0f32;
        if of_first {
            transformed = first_transformed == 1;
            if transformed {
                copy_norm(first_norm, k + e, left, &mut norms, comptime!(3 * e));
            }
        } else if k < channels {
            copy_norm(
                second_norm,
                k + e - left,
                right,
                &mut norms,
                comptime!(3 * e),
            );
        }
    }
    for number in 0..tiles {
        let tile = CUBE_POS_X as usize * tiles + number;
        let pixel = tile * PIXELS + thread / CHANNELS;
        if pixel < pixels && k < channels {
            let of_first_at = pixel * first_row + k;
            let of_second_at = pixel * right + k - left;
            let mut word = V4::new(0.0);
            #[unroll]
            for e in 0..each {
                let mut place = 2 * (k + e);
                if k + e >= half {
                    place = 2 * (k + e - half) + 1;
                }
                word.insert(e, load_value(dout, pixel * channels + place, stored));
            }
            if residual == 1 && !of_first {
                store_word(first_out, of_first_at, word, stored);
            }
            if transformed {
                #[unroll]
                for e in 0..each {
                    let y = if of_first {
                        load_value(first_y, of_first_at + e, stored)
                    } else {
                        load_value(second_y, of_second_at + e, stored)
                    };
                    let centred = y - norms[comptime!(3 * e)];
                    let scale = norms[comptime!(3 * e + 1)];
                    let z = fma(centred, scale, norms[comptime!(3 * e + 2)]);
                    let gradient = select(z <= 0.0, 0.0, word.extract(e));
                    s[e] += gradient;
                    t[e] = fma(gradient, centred, t[e]);
                    word.insert(e, gradient);
                }
            }
            // The gradients are stored as they were given, or zero.
            if of_first {
                store_word(first_out, of_first_at, word, stored);
            } else {
                store_word(second_out, of_second_at, word, stored);
            }
        }
    }
    #[unroll]
    for e in 0..each {
        shared[comptime!(2 * e * threads) + thread] = s[e];
        shared[comptime!((2 * e + 1) * threads) + thread] = t[e];
    }
    sync_cube();
    if thread < CHANNELS && k < channels {
        // A row has both sums of the first side, then both of the second.
        let mut to = CUBE_POS_X as usize * 2 * channels + k;
        let mut behind = to + left;
        if k >= left {
            to += left;
            behind = to + right;
        }
        #[unroll]
        for e in 0..each {
            let mut s = 0.0f32;
            let mut t = 0.0f32;
            for other in 0..PIXELS {
                s += shared[comptime!(2 * e * threads) + other * CHANNELS + thread];
                t += shared[comptime!((2 * e + 1) * threads) + other * CHANNELS + thread];
            }
            parts[to + e] = s;
            parts[behind + e] = t;
        }
    }
}

/// A branch of a unit, as its backward begins.
pub struct Branch<'a> {
    /// The branch's last convolution's output, `[pixels, columns]`.
    pub y: &'a Buffer,
    /// The convolution's norm.
    pub norm: &'a Buffer,
    /// The branch's channels.
    pub columns: usize,
}

/// Channels that a unit passes on.
pub struct Passed<'a> {
    /// The gradient of the unit's input, which is written.
    pub dx: &'a Buffer,
    /// How many channels are passed on.
    pub channels: usize,
    /// Whether the unit adds the branch's input to the branch's output.
    pub residual: bool,
}

/// Of a unit that passes channels on: the gradient of the branch's last norm's output, `[pixels, columns]`, and the norm's
/// sums. `dout` is `[pixels, channels]`. In a residual unit all of `dx` is written, in others the channels passed on.
pub fn passed_and_branch(
    dout: &Buffer,
    pixels: usize,
    passed: &Passed,
    branch: &Branch,
) -> (Buffer, GradientSums) {
    let g = Buffer::map(&dout.client, branch.y.len, branch.y.stored);
    let first = First {
        channels: passed.channels,
        row: passed.dx.len / pixels,
        transformed: false,
        residual: passed.residual,
    };
    // Nothing is read of what is passed on.
    let [_, sums] = launch(dout, pixels, [branch, branch], [passed.dx, &g], &first);
    (g, sums)
}

/// Of a unit with two branches: the same of each, in the order of `branches`. In the concatenation they are in this order
/// too, unless `second_first`.
pub fn branches(
    dout: &Buffer,
    pixels: usize,
    [a, b]: &[Branch; 2],
    second_first: bool,
) -> [(Buffer, GradientSums); 2] {
    let [g_a, g_b] = [a, b].map(|branch| Buffer::map(&dout.client, branch.y.len, branch.y.stored));
    let first = |branch: &Branch| First {
        channels: branch.columns,
        row: branch.columns,
        transformed: true,
        residual: false,
    };
    let [of_a, of_b] = if second_first {
        let [of_b, of_a] = launch(dout, pixels, [b, a], [&g_b, &g_a], &first(b));
        [of_a, of_b]
    } else {
        launch(dout, pixels, [a, b], [&g_a, &g_b], &first(a))
    };
    [(g_a, of_a), (g_b, of_b)]
}

/// How the kernel writes the first side.
struct First {
    channels: usize,
    /// Values from pixel to pixel.
    row: usize,
    /// Whether the side is a branch.
    transformed: bool,
    /// Whether the second side's gradient is also written behind it.
    residual: bool,
}

fn launch(
    dout: &Buffer,
    pixels: usize,
    [first, second]: [&Branch; 2],
    out: [&Buffer; 2],
    side: &First,
) -> [GradientSums; 2] {
    let client = &dout.client;
    let channels = side.channels + second.columns;
    let stored = dout.stored;
    // The widths are even in bfloat16, so a word has channels of one side: see `stored`.
    vector::check_whole_words(&[side.channels, second.columns, side.row], stored);
    let share = Parts::of(pixels.div_ceil(PIXELS));
    let parts = Buffer::empty(client, share.rows * 2 * channels);
    let [of_first, of_second] = [side.channels, second.columns].map(|channels| pixels * channels);
    let mut launch = Launch::of("separate")
        .reads_all([dout, second.y, second.norm])
        .writes(out[0], of_first)
        .writes(out[1], of_second)
        .writes_all([&parts]);
    if side.transformed {
        launch = launch.reads_all([first.y, first.norm]);
    }
    if side.residual {
        launch = launch.writes(out[0], of_second);
    }
    launch.run(|| {
        // SAFETY: pixels and channels are compared with their numbers before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            separate_sides::launch_unchecked(
                client,
                CubeCount::Static(
                    share.rows as u32,
                    channels.div_ceil(CHANNELS * stored.in_word()) as u32,
                    1,
                ),
                CubeDim::new_1d((CHANNELS * PIXELS) as u32),
                dout.arg(stored.in_word()),
                first.y.arg(stored.in_word()),
                first.norm.arg(1),
                second.y.arg(stored.in_word()),
                second.norm.arg(1),
                out[0].arg(stored.in_word()),
                out[1].arg(stored.in_word()),
                parts.arg(1),
                pixels,
                share.tiles,
                side.channels,
                second.columns,
                side.row,
                usize::from(side.transformed),
                usize::from(side.residual),
                stored,
            );
        }
    });
    let sums = |before: usize, columns: usize| GradientSums {
        parts: parts.clone(),
        rows: share.rows,
        row: 2 * channels,
        first: 2 * before,
        columns,
    };
    [sums(0, side.channels), sums(side.channels, second.columns)]
}
