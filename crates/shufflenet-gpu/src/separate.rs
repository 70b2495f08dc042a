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
use crate::join::normed;
use crate::norm::MEAN;
use crate::parts::Parts;

/// Channels and pixels of a workgroup, a unit each.
const CHANNELS: usize = 32;
const PIXELS: usize = 8;

/// How a kernel writes a side.
#[derive_cube_comptime]
struct Side {
    channels: usize,
    /// Values from pixel to pixel.
    row: usize,
    /// Whether the side is a branch.
    transformed: bool,
}

#[derive_cube_comptime]
struct Shape {
    first: Side,
    second: Side,
    /// Whether the second side's gradient is also written behind the first side's.
    residual: bool,
}

impl Shape {
    fn channels(&self) -> usize {
        self.first.channels + self.second.channels
    }
}

/// Writes one value of a side, and adds to a branch's sums.
#[cube]
fn write(
    gradient: f32,
    y: &[f32],
    norm: &[f32],
    out: &mut [f32],
    sums: &mut Array<f32>,
    pixel: usize,
    channel: usize,
    #[comptime] side: Side,
) {
    let at = pixel * comptime!(side.row) + channel;
    if comptime!(side.transformed) {
        let y = y[at];
        let z = normed(y, norm, channel, comptime!(side.channels));
        let masked = select(z <= 0.0, 0.0, gradient);
        out[at] = masked;
        let mean = norm[comptime!(MEAN * side.channels) + channel];
        sums[0] += masked;
        sums[1] = fma(masked, y - mean, sums[1]);
    } else {
        out[at] = gradient;
    }
}

#[cube(launch_unchecked)]
fn kernel(
    dout: &[f32],
    first_y: &[f32],
    first_norm: &[f32],
    second_y: &[f32],
    second_norm: &[f32],
    first_out: &mut [f32],
    second_out: &mut [f32],
    parts: &mut [f32],
    pixels: usize,
    tiles: usize,
    #[comptime] shape: Shape,
) {
    let units = comptime!(CHANNELS * PIXELS);
    let channels = comptime!(shape.channels());
    let half = comptime!(channels / 2);
    let left = comptime!(shape.first.channels);
    let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * units));
    let unit = UNIT_POS as usize;
    // The unit's channel in the concatenation, and its place in the output.
    let k = CUBE_POS_Y as usize * CHANNELS + unit % CHANNELS;
    let mut place = 2 * k;
    if k >= half {
        place = 2 * (k - half) + 1;
    }
    let mut sums = Array::<f32>::new(2usize);
    sums[0] = 0.0;
    sums[1] = 0.0;
    for number in 0..tiles {
        let tile = CUBE_POS_X as usize * tiles + number;
        let pixel = tile * PIXELS + unit / CHANNELS;
        if pixel < pixels && k < channels {
            let gradient = dout[pixel * channels + place];
            if k < left {
                write(
                    gradient,
                    first_y,
                    first_norm,
                    first_out,
                    &mut sums,
                    pixel,
                    k,
                    comptime!(shape.first),
                );
            } else {
                if comptime!(shape.residual) {
                    first_out[pixel * comptime!(shape.first.row) + k] = gradient;
                }
                write(
                    gradient,
                    second_y,
                    second_norm,
                    second_out,
                    &mut sums,
                    pixel,
                    k - left,
                    comptime!(shape.second),
                );
            }
        }
    }
    shared[unit] = sums[0];
    shared[units + unit] = sums[1];
    sync_cube();
    if unit < CHANNELS && k < channels {
        let mut s = 0.0f32;
        let mut t = 0.0f32;
        for other in 0..PIXELS {
            s += shared[other * CHANNELS + unit];
            t += shared[units + other * CHANNELS + unit];
        }
        // A row has both sums of the first side, then both of the second.
        let mut to = CUBE_POS_X as usize * comptime!(2 * channels) + k;
        let mut behind = to + left;
        if k >= left {
            to += left;
            behind = to + comptime!(shape.second.channels);
        }
        parts[to] = s;
        parts[behind] = t;
    }
}

/// A branch of a unit, as its backward begins.
pub struct Branch<'a> {
    /// The branch's last convolution's output, `[pixels, columns]`.
    pub y: &'a Buffer,
    /// Its norm.
    pub norm: &'a Buffer,
    /// The branch's channels.
    pub columns: usize,
}

impl Branch<'_> {
    fn side(&self) -> Side {
        Side {
            channels: self.columns,
            row: self.columns,
            transformed: true,
        }
    }
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
    let g = Buffer::empty(&dout.client, branch.y.len);
    let shape = Shape {
        first: Side {
            channels: passed.channels,
            row: passed.dx.len / pixels,
            transformed: false,
        },
        second: branch.side(),
        residual: passed.residual,
    };
    // Nothing is read of what is passed on.
    let [_, sums] = launch(dout, pixels, [branch, branch], [passed.dx, &g], shape);
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
    let [g_a, g_b] = [a, b].map(|branch| Buffer::empty(&dout.client, branch.y.len));
    let shape = |first: &Branch, second: &Branch| Shape {
        first: first.side(),
        second: second.side(),
        residual: false,
    };
    let [of_a, of_b] = if second_first {
        let [of_b, of_a] = launch(dout, pixels, [b, a], [&g_b, &g_a], shape(b, a));
        [of_a, of_b]
    } else {
        launch(dout, pixels, [a, b], [&g_a, &g_b], shape(a, b))
    };
    [(g_a, of_a), (g_b, of_b)]
}

fn launch(
    dout: &Buffer,
    pixels: usize,
    [first, second]: [&Branch; 2],
    out: [&Buffer; 2],
    shape: Shape,
) -> [GradientSums; 2] {
    let client = &dout.client;
    let channels = shape.channels();
    let share = Parts::of(pixels.div_ceil(PIXELS));
    let parts = Buffer::empty(client, share.rows * 2 * channels);
    // SAFETY: pixels and channels are compared with their numbers before each access.
    #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
    unsafe {
        kernel::launch_unchecked(
            client,
            CubeCount::Static(share.rows as u32, channels.div_ceil(CHANNELS) as u32, 1),
            CubeDim::new_1d((CHANNELS * PIXELS) as u32),
            dout.arg(1),
            first.y.arg(1),
            first.norm.arg(1),
            second.y.arg(1),
            second.norm.arg(1),
            out[0].arg(1),
            out[1].arg(1),
            parts.arg(1),
            pixels,
            share.tiles,
            shape,
        );
    }
    let sums = |before: usize, columns: usize| GradientSums {
        parts: parts.clone(),
        rows: share.rows,
        row: 2 * channels,
        first: 2 * before,
        columns,
    };
    let left = shape.first.channels;
    [sums(0, left), sums(left, shape.second.channels)]
}
