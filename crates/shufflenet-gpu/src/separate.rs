//! The backward of [`crate::join`]: the gradient of a unit's output, separated into its sides'.
//!
//! ```text
//! dcat[k] = dout[2 k]                       for k < channels / 2
//! dcat[k] = dout[2 (k - channels / 2) + 1]  otherwise
//! ```
//!
//! A launch serves one branch: it writes `g`, the gradient of the branch's last norm, which is zero where the ReLU was, and
//! gathers the norm's two sums. In a unit that passes channels on, the same launch writes their gradient, and a residual
//! unit's, to the gradient of the unit's input.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::gradient_sums::GradientSums;
use crate::join::normed;
use crate::norm::MEAN;
use crate::parts::Parts;

/// Channels and pixels of a workgroup, a unit each.
const CHANNELS: usize = 32;
const PIXELS: usize = 8;

#[derive_cube_comptime]
struct Shape {
    /// Channels of the unit's output.
    channels: usize,
    /// The branch's first channel in the concatenation, and its channels.
    first: usize,
    columns: usize,
    /// Channels that are passed on: all before the branch's, or none.
    passed: usize,
    /// Channels of the unit's input.
    row: usize,
    residual: bool,
}

#[cube]
fn gradient_of(dout: &[f32], pixel: usize, k: usize, #[comptime] channels: usize) -> f32 {
    let half = comptime!(channels / 2);
    let mut place = 2 * k;
    if k >= half {
        place = 2 * (k - half) + 1;
    }
    dout[pixel * channels + place]
}

#[cube(launch_unchecked)]
fn kernel(
    dout: &[f32],
    y: &[f32],
    norm: &[f32],
    dx: &mut [f32],
    g: &mut [f32],
    parts: &mut [f32],
    pixels: usize,
    tiles: usize,
    #[comptime] shape: Shape,
) {
    let units = comptime!(CHANNELS * PIXELS);
    let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * units));
    let unit = UNIT_POS as usize;
    let channel = CUBE_POS_Y as usize * CHANNELS + unit % CHANNELS;
    let mut s = 0.0f32;
    let mut t = 0.0f32;
    for number in 0..tiles {
        let tile = CUBE_POS_X as usize * tiles + number;
        let pixel = tile * PIXELS + unit / CHANNELS;
        if pixel < pixels {
            if channel < comptime!(shape.passed) {
                dx[pixel * comptime!(shape.row) + channel] =
                    gradient_of(dout, pixel, channel, comptime!(shape.channels));
            }
            if channel < comptime!(shape.columns) {
                let k = comptime!(shape.first) + channel;
                let gradient = gradient_of(dout, pixel, k, comptime!(shape.channels));
                if comptime!(shape.residual) {
                    dx[pixel * comptime!(shape.row) + comptime!(shape.passed) + channel] = gradient;
                }
                let at = pixel * comptime!(shape.columns) + channel;
                let y = y[at];
                let z = normed(y, norm, channel, comptime!(shape.columns));
                let masked = select(z <= 0.0, 0.0, gradient);
                g[at] = masked;
                s += masked;
                let mean = norm[comptime!(MEAN * shape.columns) + channel];
                t = fma(masked, y - mean, t);
            }
        }
    }
    shared[unit] = s;
    shared[units + unit] = t;
    sync_cube();
    if unit < CHANNELS && channel < comptime!(shape.columns) {
        let mut s = 0.0f32;
        let mut t = 0.0f32;
        for other in 0..PIXELS {
            s += shared[other * CHANNELS + unit];
            t += shared[units + other * CHANNELS + unit];
        }
        let to = CUBE_POS_X as usize * comptime!(2 * shape.columns) + channel;
        parts[to] = s;
        parts[to + comptime!(shape.columns)] = t;
    }
}

/// A branch of a unit, as its backward begins.
pub struct Branch<'a> {
    /// The branch's last convolution's output, `[pixels, columns]`.
    pub y: &'a Buffer,
    /// Its norm.
    pub norm: &'a Buffer,
    /// The branch's first channel in the concatenation.
    pub first: usize,
    /// The branch's channels.
    pub columns: usize,
}

/// The gradient of the branch's last norm's output, `[pixels, columns]`, and the norm's sums. `dout` is `[pixels,
/// channels]`.
///
/// `dx`, `[pixels, row]`, is the gradient of the input of a unit that passes on what is before the branch in the
/// concatenation; the flag is whether the unit is residual.
pub fn separate(
    dout: &Buffer,
    pixels: usize,
    branch: &Branch,
    dx: Option<(&Buffer, bool)>,
) -> (Buffer, GradientSums) {
    let client = &dout.client;
    let columns = branch.columns;
    let g = Buffer::empty(client, pixels * columns);
    let shape = Shape {
        channels: dout.len / pixels,
        first: branch.first,
        columns,
        passed: if dx.is_some() { branch.first } else { 0 },
        row: dx.map_or(0, |(dx, _)| dx.len / pixels),
        residual: dx.is_some_and(|(_, residual)| residual),
    };
    let share = Parts::of(pixels.div_ceil(PIXELS));
    let parts = Buffer::empty(client, share.rows * 2 * columns);
    let blocks = columns.max(shape.passed).div_ceil(CHANNELS);
    let dx = dx.map_or(&g, |(dx, _)| dx);
    // SAFETY: pixels and channels are compared with their numbers before each access.
    #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
    unsafe {
        kernel::launch_unchecked(
            client,
            CubeCount::Static(share.rows as u32, blocks as u32, 1),
            CubeDim::new_1d((CHANNELS * PIXELS) as u32),
            dout.arg(1),
            branch.y.arg(1),
            branch.norm.arg(1),
            dx.arg(1),
            g.arg(1),
            parts.arg(1),
            pixels,
            share.tiles,
            shape,
        );
    }
    let sums = GradientSums {
        parts,
        rows: share.rows,
        row: 2 * columns,
        first: 0,
        columns,
    };
    (g, sums)
}
