//! A branch in inference. Its end is one pass: depthwise 3x3 convolution, 1x1 convolution, and the branch's part of the
//! unit's output. Nothing between them is stored.
//!
//! ```text
//! y2 = depthwise(reading(x)),    y3 = W3 norm2(y2),    out[shuffled(start + o)] = relu(norm3(y3))[o]
//! ```
//!
//! `shuffled` is the shuffle of [`crate::join`]. The kernel of a stride-1 unit also copies the channels that the unit
//! passes on.
//!
//! A workgroup computes a tile of the product ([`crate::tile`]). It computes the depthwise convolution while it copies
//! the left operand to shared memory, anew for each 64 outputs of the 1x1 convolution. Training does not do this,
//! because it needs `y2` and `y3` in the backward. Maps are float32.

use cubecl::prelude::*;

use crate::branch::{Branch, Maps, whole};
use crate::buffer::Buffer;
use crate::depthwise::TAPS;
use crate::join::shuffled;
use crate::norm::{self, Reading};
use crate::parts::Parts;
use crate::pointwise::{self, Columns};
use crate::stored::Stored;
use crate::tile::{QUADS, STEP, Tile, copy_right, multiply};
use crate::traffic::Launch;
use crate::vector::{self, V4, load, relu, valid};

/// Vectors of the taps of a step, which lie behind the operands in shared memory.
const TAPS_OF_STEP: usize = TAPS * QUADS;

/// What a unit's output has from elsewhere than the branch.
pub(crate) struct Output<'a> {
    /// The unit's input.
    pub x: &'a Columns,
    /// How many of its first channels the unit passes on. The branch's input is behind them.
    pub passed: usize,
    /// Whether the branch's input is added to its output.
    pub residual: bool,
    /// The unit's output, `[output pixels, channels]`.
    pub out: &'a Buffer,
    /// Channels of the output.
    pub channels: usize,
    /// The place in the concatenation of the branch's first channel.
    pub start: usize,
}

#[derive_cube_comptime]
struct Shape {
    tile: Tile,
    stride: usize,
    reading: Reading,
}

/// Copies the taps of the channels from `start` on behind the operands, tap by tap, [`QUADS`] vectors each.
#[cube]
fn copy_taps(
    taps: &[f32],
    shared: &mut Shared<[V4]>,
    start: usize,
    channels: usize,
    #[comptime] tile: Tile,
) {
    let thread = UNIT_POS as usize;
    if thread < TAPS_OF_STEP {
        let channel = start + thread % QUADS * 4;
        let tap = thread / QUADS;
        let mut four = V4::new(0.0);
        #[unroll]
        for i in 0..4usize {
            if channel + i < channels {
                four.insert(i, taps[(channel + i) * TAPS + tap]);
            }
        }
        shared[comptime!(tile.operands()) + thread] = four;
    }
}

/// The depthwise convolution at one output pixel, for the four channels from `channel` on, of which `here` exist. `i`
/// and `j` are the row and the place of its window, counted with the padding.
#[cube]
fn depthwise<N: Size>(
    x: &[Vector<f32, N>],
    norm1: &[Vector<f32, N>],
    shared: &Shared<[V4]>,
    image: usize,
    i: usize,
    j: usize,
    height: usize,
    width: usize,
    row: usize,
    first: usize,
    channel: usize,
    here: usize,
    channels: usize,
    taps: usize,
    #[comptime] reading: Reading,
) -> V4 {
    let norm1 = norm::rows::<N>(norm1, channel, here, channels, reading);
    let mut sum = V4::new(0.0);
    for u in 0..3usize {
        let from_row = i + u;
        #[unroll]
        for v in 0..3usize {
            let place = j + v;
            let row_here = from_row >= 1 && from_row <= height;
            if row_here && place >= 1 && place <= width {
                let from = (image * height + from_row - 1) * width + place - 1;
                let value = load::<N>(x, from * row + first + channel, here);
                let z = norm::read_by(value, &norm1, reading);
                sum = fma(shared[taps + (3 * u + v) * QUADS], z, sum);
            }
        }
    }
    sum
}

/// Writes a pixel's four channels from `column` on: of the branch, and of those that the unit passes on.
#[cube]
fn write(
    branch: V4,
    input: &[f32],
    out: &mut [f32],
    pixel: usize,
    column: usize,
    outputs: usize,
    input_row: usize,
    passed: usize,
    residual: usize,
    channels: usize,
    start: usize,
) {
    #[unroll]
    for i in 0..4usize {
        let o = column + i;
        if o < outputs {
            let mut value = branch.extract(i);
            if residual == 1 {
                value += input[pixel * input_row + passed + o];
            }
            out[pixel * channels + shuffled(start + o, channels)] = value;
        }
        if o < passed {
            out[pixel * channels + shuffled(o, channels)] = input[pixel * input_row + o];
        }
    }
}

#[cube(launch_unchecked)]
fn branch_end<N: Size>(
    x: &[Vector<f32, N>],
    norm1: &[Vector<f32, N>],
    taps: &[f32],
    norm2: &[Vector<f32, N>],
    weight: &[f32],
    norm3: &[Vector<f32, N>],
    input: &[f32],
    out: &mut [f32],
    images: usize,
    height: usize,
    width: usize,
    tiles: usize,
    inner: usize,
    outputs: usize,
    row: usize,
    first: usize,
    input_row: usize,
    passed: usize,
    residual: usize,
    channels: usize,
    start: usize,
    #[comptime] shape: Shape,
) {
    let tile = comptime!(shape.tile);
    let stride = comptime!(shape.stride);
    let mut shared = Shared::<[V4]>::new_slice(comptime!(tile.operands() + TAPS_OF_STEP));
    // Every thread has four columns of the product and some pixels of the tile.
    let thread_x = UNIT_POS as usize % comptime!(tile.threads_x);
    let thread_y = UNIT_POS as usize / comptime!(tile.threads_x);
    let first_column = CUBE_POS_X as usize * comptime!(tile.columns());
    let column = first_column + thread_x * 4;
    let columns = valid(column, outputs);
    let rows = height.div_ceil(stride);
    let row_outputs = width.div_ceil(stride);
    let pixels = images * rows * row_outputs;
    let mut sums = Array::<V4>::new(comptime!(tile.m));
    for number in 0..tiles {
        let first_pixel = (CUBE_POS_Y as usize * tiles + number) * comptime!(tile.pixels());
        #[unroll]
        for p in 0..comptime!(tile.m) {
            sums[p] = V4::new(0.0);
        }
        for step in 0..inner.div_ceil(STEP) {
            let begin = step * STEP;
            copy_taps(taps, &mut shared, begin, inner, tile);
            copy_right(
                weight,
                &mut shared,
                begin,
                first_column,
                inner,
                outputs,
                1,
                inner,
                tile,
                comptime!(tile.threads()),
            );
            sync_cube();
            let mut at = UNIT_POS as usize;
            while at < comptime!(tile.pixels() * QUADS) {
                let pixel = first_pixel + at / QUADS;
                let quad = at % QUADS;
                let channel = begin + quad * 4;
                let here = valid(channel, inner);
                let mut y2 = V4::new(0.0);
                if pixel < pixels && here > 0 {
                    let line = pixel / row_outputs;
                    let j = pixel % row_outputs * stride;
                    let i = line % rows * stride;
                    let image = line / rows;
                    y2 = depthwise::<N>(
                        x,
                        norm1,
                        &shared,
                        image,
                        i,
                        j,
                        height,
                        width,
                        row,
                        first,
                        channel,
                        here,
                        inner,
                        comptime!(tile.operands()) + quad,
                        comptime!(shape.reading),
                    );
                    y2 = norm::normed::<N>(y2, norm2, channel, here, inner);
                }
                shared[at / QUADS * comptime!(tile.left_row()) + quad] = y2;
                at += comptime!(tile.threads());
            }
            sync_cube();
            multiply(&shared, &mut sums, inner - begin, tile);
            sync_cube();
        }
        #[unroll]
        for p in 0..comptime!(tile.m) {
            let pixel = first_pixel + comptime!(p * tile.threads_y) + thread_y;
            if pixel < pixels {
                let mut value = V4::new(0.0);
                if columns > 0 {
                    value = relu(norm::normed::<N>(sums[p], norm3, column, columns, outputs));
                }
                write(
                    value, input, out, pixel, column, outputs, input_row, passed, residual,
                    channels, start,
                );
            }
        }
    }
}

impl Branch {
    /// Writes the branch's part of a unit's output in inference. `x` begins at the branch's first channel. `norms` has
    /// the norm of each convolution, in their order. Maps are float32.
    pub(crate) fn infer(&self, maps: Maps, x: &Columns, norms: &[Buffer], to: &Output) {
        let Some(conv) = &self.pointwise1 else {
            return self.end(maps, x, None, norms, to);
        };
        let inputs = conv.weight.len / conv.outputs();
        let (y, _) = pointwise::forward(x, maps.pixels_in(), inputs, None, &conv.weight);
        let y = whole(&y, conv.outputs());
        self.end(maps, &y, Some(&norms[0]), &norms[1..], to);
    }

    /// The kernel's launch. `x` is what the depthwise convolution reads, with `norm1` and ReLU if there is a norm.
    fn end(&self, maps: Maps, x: &Columns, norm1: Option<&Buffer>, norms: &[Buffer], to: &Output) {
        let [norm2, norm3] = [&norms[0], &norms[1]];
        let client = &x.data.client;
        let [images, height, width] = maps.input;
        let pixels = maps.pixels_out();
        let inner = self.depthwise.outputs();
        let outputs = self.pointwise2.outputs();
        let [taps, weight] = [&self.depthwise.weight, &self.pointwise2.weight];
        let tile = Tile::beside(outputs, TAPS_OF_STEP);
        let share = Parts::of(pixels.div_ceil(tile.pixels()));
        let n = vector::width(&[x.row, x.first, inner, outputs], Stored::F32);
        let reading = match norm1 {
            Some(_) => Reading::NormRelu,
            None => Reading::Plain,
        };
        let norm1 = norm1.unwrap_or(norm2);
        let of_input = to.passed + if to.residual { outputs } else { 0 };
        let launch = Launch::of("depthwise and 1x1")
            .reads(&x.data, maps.pixels_in() * inner)
            .reads_by(norm1, reading)
            .reads_all([taps, norm2, weight, norm3])
            .reads(&to.x.data, pixels * of_input)
            .writes(to.out, pixels * (to.passed + outputs));
        launch.run(|| {
            // SAFETY: images, rows, places and channels are compared with their numbers before each access.
            #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
            unsafe {
                branch_end::launch_unchecked(
                    client,
                    CubeCount::Static(
                        tile.blocks(outputs.max(to.passed)) as u32,
                        share.rows as u32,
                        1,
                    ),
                    CubeDim::new_1d(tile.threads() as u32),
                    n,
                    x.data.arg(n),
                    norm1.arg(n),
                    taps.arg(1),
                    norm2.arg(n),
                    weight.arg(1),
                    norm3.arg(n),
                    to.x.data.arg(1),
                    to.out.arg(1),
                    images,
                    height,
                    width,
                    share.tiles,
                    inner,
                    outputs,
                    x.row,
                    x.first,
                    to.x.row,
                    to.passed,
                    usize::from(to.residual),
                    to.channels,
                    to.start,
                    Shape {
                        tile,
                        stride: maps.stride,
                        reading,
                    },
                );
            }
        });
    }
}
