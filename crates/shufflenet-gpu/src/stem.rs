//! The stem: dense 3x3 convolution, padded by one, batch norm, ReLU and, if wanted, max pooling. Forward.
//!
//! ```text
//! y[i, j, o] = sum over c, u, v of w[o, c, u, v] image[c, i stride + u - 1, j stride + v - 1],    zero outside
//! out = relu(norm(y)),    or out = pool(relu(norm(y)))    (module max_pool)
//! ```
//!
//! Images are `[images, channels, height, width]`. The convolution is the matrix product of [`crate::pointwise`], with the
//! 3x3 windows of the images in the place of a map: a thread gathers their values while it copies them to shared memory.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::conv_norm::{ConvNorm, NormConfig, Running};
use crate::depthwise::TAPS;
use crate::max_pool::{max_pool, pooled};
use crate::moments::{self, Moments, PARTS};
use crate::norm::{self, ROWS, Reading};
use crate::norms::Norms;
use crate::parts::Parts;
use crate::stored::{Stored, load_map, rounded, store_map};
use crate::tile::{QUADS, STEP, Tile, copy_right, multiply};
use crate::traffic::Launch;
use crate::vector::{self, V4, valid};

/// Threads of a workgroup of the second kernel.
const THREADS: u32 = 256;

/// The sizes of a stem.
#[derive(Clone, Copy, Debug)]
pub struct Stem {
    /// Number of images.
    pub images: usize,
    /// Channels of the images.
    pub channels: usize,
    /// Height of the images.
    pub height: usize,
    /// Width of the images.
    pub width: usize,
    /// Stride of the convolution.
    pub stride: usize,
    /// Padding of the max pooling, if there is one.
    pub pool: Option<usize>,
    /// What maps are stored as. Images are float32.
    pub stored: Stored,
}

impl Stem {
    /// Images, height and width of the convolution's output.
    pub fn convolved(&self) -> [usize; 3] {
        let [height, width] = [self.height, self.width].map(|side| side.div_ceil(self.stride));
        [self.images, height, width]
    }

    /// Images, height and width of the output.
    pub fn output(&self) -> [usize; 3] {
        let [images, height, width] = self.convolved();
        let side = |side| self.pool.map_or(side, |padding| pooled(side, padding));
        [images, side(height), side(width)]
    }

    /// Pixels of the convolution's output.
    pub(crate) fn pixels(&self) -> usize {
        self.convolved().iter().product()
    }
}

/// What the backward needs beside the images.
#[derive(Clone)]
pub struct Saved {
    /// The convolution's output, `[pixels, outputs]`.
    pub y: Buffer,
    /// The convolution's norm.
    pub norm: Buffer,
    /// The places of the maxima, if there is a pooling: see [`max_pool`].
    pub places: Option<Buffer>,
}

/// A value of an image, zero outside. `plane` counts the channels of all images; row and place are counted with the
/// padding, so from 1 on.
#[cube]
fn padded(
    images: &[f32],
    plane: usize,
    row: usize,
    place: usize,
    height: usize,
    width: usize,
) -> f32 {
    let mut value = 0.0f32;
    if row >= 1 && row <= height && place >= 1 && place <= width {
        value = images[(plane * height + row - 1) * width + place - 1];
    }
    value
}

/// Four values of the window of pixel number `pixel`, from number `first` of its `[channels, 3, 3]` on.
#[cube]
pub(crate) fn window(
    images: &[f32],
    pixel: usize,
    first: usize,
    channels: usize,
    height: usize,
    width: usize,
    stride: usize,
) -> V4 {
    let rows = height.div_ceil(stride);
    let row_outputs = width.div_ceil(stride);
    let j = pixel % row_outputs;
    let i = pixel / row_outputs % rows;
    let image = pixel / row_outputs / rows;
    let mut four = V4::new(0.0);
    #[unroll]
    for k in 0..4usize {
        let value = first + k;
        if value < channels * TAPS {
            let plane = image * channels + value / TAPS;
            let row = i * stride + value % TAPS / 3;
            let place = j * stride + value % 3;
            four.insert(k, padded(images, plane, row, place, height, width));
        }
    }
    four
}

#[cube(launch_unchecked)]
fn stem_forward<N: Size, W: Size>(
    images: &[f32],
    weight: &[f32],
    y: &mut [Vector<u32, W>],
    parts: &mut [Vector<f32, N>],
    pixels: usize,
    channels: usize,
    height: usize,
    width: usize,
    stride: usize,
    outputs: usize,
    tiles: usize,
    #[comptime] tile: Tile,
    #[comptime] stored: Stored,
) {
    let mut shared = Shared::<[V4]>::new_slice(comptime!(tile.shared()));
    let thread_x = UNIT_POS as usize % comptime!(tile.threads_x);
    let thread_y = UNIT_POS as usize / comptime!(tile.threads_x);
    let first_column = CUBE_POS_X as usize * comptime!(tile.columns());
    let column = first_column + thread_x * 4;
    let columns = valid(column, outputs);
    let inner = channels * TAPS;
    let mut seen = moments::none();
    let mut out = Array::<V4>::new(comptime!(tile.m));
    for number in 0..tiles {
        let first_pixel = (CUBE_POS_Y as usize * tiles + number) * comptime!(tile.pixels());
        #[unroll]
        for p in 0..comptime!(tile.m) {
            out[p] = V4::new(0.0);
        }
        for step in 0..inner.div_ceil(STEP) {
            let start = step * STEP;
            let mut at = UNIT_POS as usize;
            while at < comptime!(tile.pixels() * QUADS) {
                let pixel = first_pixel + at / QUADS;
                let first = start + at % QUADS * 4;
                let mut four = V4::new(0.0);
                if pixel < pixels {
                    four = window(images, pixel, first, channels, height, width, stride);
                }
                shared[at / QUADS * comptime!(tile.left_row()) + at % QUADS] = four;
                at += comptime!(tile.threads());
            }
            copy_right(
                weight,
                &mut shared,
                start,
                first_column,
                inner,
                outputs,
                1,
                inner,
                tile,
                comptime!(tile.threads()),
            );
            sync_cube();
            multiply(&shared, &mut out, inner - start, tile);
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

#[cube(launch_unchecked)]
fn stem_norm_relu<N: Size, W: Size>(
    y: &[Vector<u32, W>],
    norm: &[Vector<f32, N>],
    out: &mut [Vector<u32, W>],
    pixels: usize,
    channels: usize,
    #[comptime] stored: Stored,
) {
    let quads = channels.div_ceil(4);
    let pixel = ABSOLUTE_POS / quads;
    let column = ABSOLUTE_POS % quads * 4;
    if pixel < pixels {
        let columns = valid(column, channels);
        let at = pixel * channels + column;
        let value = load_map::<W>(y, at, columns, stored);
        let z = norm::read::<N>(value, norm, column, columns, channels, Reading::NormRelu);
        store_map::<W>(out, at, columns, rounded(z, stored), stored);
    }
}

/// Computes the output, `[output pixels, outputs]`.
pub fn forward(
    images: &Buffer,
    at: &Stem,
    conv: &ConvNorm,
    running: &Running,
    config: NormConfig,
) -> (Buffer, Vec<Running>, Saved) {
    let running = std::slice::from_ref(running);
    let mut norms = Norms::new(&images.client, [conv], running, config);
    let (y, moments) = convolve(images, at, &conv.weight, conv.outputs());
    let norm = norms.next(&moments, conv);
    let (out, places) = norm_relu_pool(&y, &norm, at);
    (out, norms.moved(), Saved { y, norm, places })
}

/// Computes the output in inference, with the norm's [`FrozenNorm::rows`](crate::norms::FrozenNorm::rows).
pub fn infer(images: &Buffer, at: &Stem, conv: &ConvNorm, norm: &Buffer) -> Buffer {
    let (y, _) = convolve(images, at, &conv.weight, conv.outputs());
    norm_relu_pool(&y, norm, at).0
}

/// What follows the convolution, and the places of the maxima if the stem pools.
fn norm_relu_pool(y: &Buffer, norm: &Buffer, at: &Stem) -> (Buffer, Option<Buffer>) {
    match at.pool {
        Some(padding) => {
            let (out, places) = max_pool(y, norm, at.convolved(), padding);
            (out, Some(places))
        }
        None => (norm_relu(y, norm), None),
    }
}

/// `y`, `[pixels, outputs]`, and its moments.
fn convolve(images: &Buffer, at: &Stem, weight: &Buffer, outputs: usize) -> (Buffer, Moments) {
    let client = &images.client;
    let pixels = at.pixels();
    let tile = Tile::new(outputs);
    let share = Parts::of(pixels.div_ceil(tile.pixels()));
    let y = Buffer::map(client, pixels * outputs, at.stored);
    let parts = Buffer::empty(client, share.rows * PARTS * outputs);
    let n = vector::width(&[outputs], at.stored);
    let launch = Launch::of("3x3")
        .reads(images, images.len)
        .reads_all([weight])
        .writes_all([&y, &parts]);
    launch.run(|| {
        // SAFETY: pixels, values of a window and channels are compared with their numbers before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            stem_forward::launch_unchecked(
                client,
                CubeCount::Static(tile.blocks(outputs) as u32, share.rows as u32, 1),
                CubeDim::new_1d(tile.threads() as u32),
                n,
                n / at.stored.in_word(),
                images.arg(1),
                weight.arg(1),
                y.arg(n),
                parts.arg(n),
                pixels,
                at.channels,
                at.height,
                at.width,
                at.stride,
                outputs,
                share.tiles,
                tile,
                at.stored,
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

/// `relu(norm(y))`
fn norm_relu(y: &Buffer, norm: &Buffer) -> Buffer {
    let channels = norm.len / ROWS;
    let pixels = y.len / channels;
    let out = Buffer::map(&y.client, y.len, y.stored);
    let n = vector::width(&[channels], y.stored);
    let launch = Launch::of("relu").reads_all([y, norm]).writes_all([&out]);
    launch.run(|| {
        // SAFETY: the pixel is compared with their number, and channels with the width, before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            stem_norm_relu::launch_unchecked(
                &y.client,
                vector::workgroups(pixels * channels.div_ceil(4), THREADS),
                CubeDim::new_1d(THREADS),
                n,
                n / y.stored.in_word(),
                y.arg(n),
                norm.arg(n),
                out.arg(n),
                pixels,
                channels,
                y.stored,
            );
        }
    });
    out
}
