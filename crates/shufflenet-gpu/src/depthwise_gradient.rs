//! The depthwise 3x3 convolution, backward, with the norm and the ReLU before it and the norm behind it.
//!
//! ```text
//! y = conv(z),    z = reading(x),    dy = a g + b (y - mean) + c    (module norm)
//!
//! dz[i, j] = sum over u, v of w[u, v] dy[o, q],    dw[u, v] = sum over i, j of z[i, j] dy[o, q]
//!     where o stride = i - u + 1 and q stride = j - v + 1
//! ```
//!
//! The same values of `dy` serve an input pixel's `dz` and its products for `dw`, so one pass computes both. A thread takes
//! a patch of four input pixels for four channels: four of a row in stride 1, which 3 x 6 values of `dy` reach, and
//! 2 x 2 in stride 2, which 2 x 2 values reach.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::depthwise::{Block, TAPS, TAPS_SHARED, THREADS, copy_taps};
use crate::gradient_sums::{Backward, Gradient, GradientSums};
use crate::norm::{self, MEAN, Reading};
use crate::parts::{Parts, shared_for_sums, write_sums};
use crate::pointwise::Columns;
use crate::product::Product;
use crate::stored::{Stored, load_map, rounded, store_map};
use crate::traffic::Launch;
use crate::vector::{self, V4, valid};

/// Rows of a workgroup's sums: `sum(g_in)`, `sum(g_in (x - mean))`, and the taps of `dw`.
const SUMS: usize = 2 + TAPS;

/// Input pixels of a patch.
const PATCH: usize = 4;

#[derive_cube_comptime]
struct Shape {
    stride: usize,
    reading: Reading,
    stored: Stored,
}

/// Rows and pixels a row of a patch.
fn patch(stride: usize) -> [usize; 2] {
    if stride == 1 { [1, PATCH] } else { [2, 2] }
}

/// The tap that takes pixel `pixel` of a patch to value `value` of the `dy` that reach it, along one side, if one does.
/// In stride 1 the first of these values is one place before the patch.
fn tap(stride: usize, pixel: usize, value: usize) -> Option<usize> {
    let before = usize::from(stride == 1);
    (pixel + 1 + before)
        .checked_sub(value * stride)
        .filter(|tap| *tap < 3)
}

/// `dy` at number `from`, or zero where that is not `inside` the map.
#[cube]
fn output_gradient<W: Size>(
    g: &[Vector<u32, W>],
    y: &[Vector<u32, W>],
    factors: &Array<V4>,
    inside: bool,
    from: usize,
    columns: usize,
    #[comptime] stored: Stored,
) -> V4 {
    let mut dy = V4::new(0.0);
    if inside {
        dy = norm::gradient_by(
            load_map::<W>(g, from, columns, stored),
            load_map::<W>(y, from, columns, stored),
            factors,
        );
    }
    dy
}

#[cube(launch_unchecked)]
fn depthwise_backward<N: Size, W: Size>(
    g: &[Vector<u32, W>],
    y: &[Vector<u32, W>],
    factors: &[Vector<f32, N>],
    weight: &[f32],
    x: &[Vector<u32, W>],
    norm: &[Vector<f32, N>],
    g_in: &mut [Vector<u32, W>],
    parts: &mut [Vector<f32, N>],
    images: usize,
    height: usize,
    width: usize,
    tiles: usize,
    channels: usize,
    threads_x: usize,
    threads_y: usize,
    row: usize,
    first: usize,
    #[comptime] shape: Shape,
) {
    let stride = comptime!(shape.stride);
    let stored = comptime!(shape.stored);
    let reading = comptime!(shape.reading);
    let down = comptime!(patch(shape.stride)[0]);
    let across = comptime!(patch(shape.stride)[1]);
    let mut shared = Shared::<[V4]>::new_slice(comptime!(shared_for_sums(THREADS)));
    let mut taps = Shared::<[V4]>::new_slice(TAPS_SHARED);
    let thread_x = UNIT_POS as usize % threads_x;
    let thread_y = UNIT_POS as usize / threads_x;
    let first_column = CUBE_POS_Y as usize * threads_x * 4;
    let column = first_column + thread_x * 4;
    let mut columns = 0usize;
    if thread_y < threads_y {
        columns = valid(column, channels);
    }
    let rows = height.div_ceil(stride);
    let places = width.div_ceil(stride);
    let patches_down = height.div_ceil(down);
    let patches_across = width.div_ceil(across);
    copy_taps(weight, &mut taps, first_column, channels, threads_x);
    sync_cube();
    let factors = norm::rows::<N>(factors, column, columns, channels, Reading::Norm);
    let norm = norm::rows::<N>(norm, column, columns, channels, reading);
    let zero = V4::new(0.0);
    let mut sums = Array::<V4>::new(SUMS);
    #[unroll]
    for i in 0..SUMS {
        sums[i] = zero;
    }
    let mut values = Array::<V4>::new(PATCH);
    let mut z = Array::<V4>::new(PATCH);
    let mut dz = Array::<V4>::new(PATCH);
    let mut taps_of_row = Array::<V4>::new(3usize);
    for number in 0..tiles {
        let patch = (CUBE_POS_X as usize * tiles + number) * threads_y + thread_y;
        let line = patch / patches_across;
        let j = patch % patches_across * across;
        let i = line % patches_down * down;
        let image = line / patches_down;
        let here = image < images && columns > 0;
        let first_pixel = (image * height + i) * width + j;
        #[unroll]
        for p in 0..PATCH {
            dz[p] = zero;
            z[p] = zero;
            values[p] = zero;
            if here && i + comptime!(p / across) < height && j + comptime!(p % across) < width {
                let pixel = first_pixel + comptime!(p / across) * width + comptime!(p % across);
                values[p] = load_map::<W>(x, pixel * row + first + column, columns, stored);
                z[p] = norm::read_by(values[p], &norm, reading);
            }
        }
        if comptime!(stride == 1) {
            // A loop, because three copies of its body take the driver long to compile. The sums stay in registers:
            // those of the row of taps at hand are always the first three, and after three turns each is in its place
            // again.
            for u in 0..3usize {
                // Row and place are counted from those before the map.
                let from_row = i + u;
                let row_here = here && from_row >= 1 && from_row <= rows;
                #[unroll]
                for v in 0..3usize {
                    taps_of_row[v] = taps[(3 * (2 - u) + v) * threads_x + thread_x];
                }
                #[unroll]
                for v in 0..comptime!(PATCH + 2) {
                    let place = j + v;
                    let inside = row_here && place >= 1 && place <= places;
                    let pixel = (image * rows + from_row - 1) * places + place - 1;
                    let from = pixel * channels + column;
                    let dy = output_gradient::<W>(g, y, &factors, inside, from, columns, stored);
                    #[unroll]
                    for p in 0..PATCH {
                        let tap = comptime!(tap(1, p, v));
                        if comptime!(tap.is_some()) {
                            let tap = comptime!(tap.unwrap_or(0));
                            dz[p] = fma(taps_of_row[tap], dy, dz[p]);
                            sums[comptime!(2 + tap)] = fma(z[p], dy, sums[comptime!(2 + tap)]);
                        }
                    }
                }
                turn(&mut sums);
            }
        } else {
            #[unroll]
            for u in 0..2usize {
                #[unroll]
                for v in 0..2usize {
                    let from_row = i / 2 + u;
                    let place = j / 2 + v;
                    let inside = here && from_row < rows && place < places;
                    let pixel = (image * rows + from_row) * places + place;
                    let from = pixel * channels + column;
                    let dy = output_gradient::<W>(g, y, &factors, inside, from, columns, stored);
                    #[unroll]
                    for p in 0..PATCH {
                        let down = comptime!(tap(2, p / 2, u));
                        let across = comptime!(tap(2, p % 2, v));
                        if comptime!(down.is_some() && across.is_some()) {
                            let tap = comptime!(3 * down.unwrap_or(0) + across.unwrap_or(0));
                            dz[p] = fma(taps[tap * threads_x + thread_x], dy, dz[p]);
                            sums[comptime!(2 + tap)] = fma(z[p], dy, sums[comptime!(2 + tap)]);
                        }
                    }
                }
            }
        }
        #[unroll]
        for p in 0..PATCH {
            if here && i + comptime!(p / across) < height && j + comptime!(p % across) < width {
                let pixel = first_pixel + comptime!(p / across) * width + comptime!(p % across);
                let mut gradient = dz[p];
                if comptime!(reading == Reading::NormRelu) {
                    // Not by `z`, whose NaN a driver may have turned to zero: a NaN passes on.
                    let before = norm::read_by(values[p], &norm, Reading::Norm);
                    gradient = select_many(before.less_equal(&zero), zero, gradient);
                }
                let gradient = rounded(gradient, stored);
                store_map::<W>(g_in, pixel * channels + column, columns, gradient, stored);
                sums[0] += gradient;
                if comptime!(reading != Reading::Plain) {
                    sums[1] = fma(gradient, values[p] - norm[MEAN], sums[1]);
                }
            }
        }
    }
    if comptime!(stride == 1) {
        // The first turn was that of the last row of taps.
        #[unroll]
        for v in 0..3usize {
            let last = sums[comptime!(2 + v)];
            sums[comptime!(2 + v)] = sums[comptime!(8 + v)];
            sums[comptime!(8 + v)] = last;
        }
    }
    write_sums::<N>(
        &sums,
        &mut shared,
        parts,
        CUBE_POS_X as usize,
        column,
        columns,
        channels,
        threads_x,
        threads_y,
        SUMS,
        THREADS,
    );
}

/// Moves the sums of each row of taps to the place of the row before, and those of the first row to the last's.
#[cube]
fn turn(sums: &mut Array<V4>) {
    #[unroll]
    for v in 0..3usize {
        let first = sums[comptime!(2 + v)];
        sums[comptime!(2 + v)] = sums[comptime!(5 + v)];
        sums[comptime!(5 + v)] = sums[comptime!(8 + v)];
        sums[comptime!(8 + v)] = first;
    }
}

/// Computes the gradients of the convolution whose forward pass is [`depthwise::forward`](crate::depthwise::forward). If `x`
/// was read as it is, `g` is the gradient of `x`, and the sums are of no use.
pub fn backward(
    behind: &Gradient,
    weight: &Buffer,
    x: &Columns,
    [images, height, width]: [usize; 3],
    stride: usize,
    norm: Option<(&Buffer, Reading)>,
) -> Backward {
    let client = &x.data.client;
    let channels = weight.len / TAPS;
    let block = Block::new(channels);
    let [down, across] = patch(stride);
    let patches = images * height.div_ceil(down) * width.div_ceil(across);
    let share = Parts::of(patches.div_ceil(block.threads_y));
    let stored = x.data.stored;
    let g_in = Buffer::map(client, images * height * width * channels, stored);
    let parts = Buffer::empty(client, share.rows * SUMS * channels);
    let (norm, reading) = norm.unwrap_or((weight, Reading::Plain));
    let n = vector::width(&[x.row, x.first, channels], stored);
    let launch = Launch::of("depthwise, backward")
        .reads_all([behind.g, behind.y, behind.factors, weight])
        .reads_by(norm, reading)
        .reads(&x.data, images * height * width * channels)
        .writes_all([&g_in, &parts]);
    launch.run(|| {
        // SAFETY: images, rows, places and channels are compared with their numbers before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            depthwise_backward::launch_unchecked(
                client,
                CubeCount::Static(share.rows as u32, block.blocks as u32, 1),
                CubeDim::new_1d(THREADS as u32),
                n,
                n / stored.in_word(),
                behind.g.arg(n),
                behind.y.arg(n),
                behind.factors.arg(n),
                weight.arg(1),
                x.data.arg(n),
                norm.arg(n),
                g_in.arg(n),
                parts.arg(n),
                images,
                height,
                width,
                share.tiles,
                channels,
                block.threads_x,
                block.threads_y,
                x.row,
                x.first,
                Shape {
                    stride,
                    reading,
                    stored,
                },
            );
        }
    });
    let weight = Product {
        parts: parts.clone(),
        rows: share.rows,
        row: SUMS * channels,
        first: 2 * channels,
        columns: TAPS * channels,
        channels,
    };
    let sums = GradientSums {
        parts,
        rows: share.rows,
        row: SUMS * channels,
        first: 0,
        columns: channels,
    };
    Backward {
        g: g_in,
        sums,
        weight,
    }
}
