//! The depthwise 3x3 convolution, backward, with the norm and the ReLU before it and the norm behind it.
//!
//! ```text
//! y = conv(z),    z = reading(x),    dy = a g + b (y - mean) + c    (module norm)
//!
//! dz[i, j] = sum over u, v of w[u, v] dy[o, q],    dw[u, v] = sum over i, j of z[i, j] dy[o, q]
//!     where o stride = i - u + 1 and q stride = j - v + 1
//! ```
//!
//! The same values of `dy` serve an input pixel's `dz` and its products for `dw`, so one pass computes both. A unit takes
//! a patch of four input pixels for four channels: four of a row in stride 1, which 3 x 6 values of `dy` reach, and
//! 2 x 2 in stride 2, which 2 x 2 values reach.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::depthwise::{Block, TAPS, taps};
use crate::gradient_sums::{Backward, Gradient, GradientSums};
use crate::norm::{self, MEAN, Reading};
use crate::parts::{Parts, shared_for_sums, write_sums};
use crate::pointwise::Columns;
use crate::product::Product;
use crate::vector::{self, V4, load, store, valid};

/// Rows of a workgroup's sums: `sum(g_in)`, `sum(g_in (x - mean))`, and the taps of `dw`.
const SUMS: usize = 2 + TAPS;

/// Input pixels of a patch.
const PATCH: usize = 4;

#[derive_cube_comptime]
struct Shape {
    block: Block,
    stride: usize,
    /// Channels of the input's map, and the first that is read.
    row: usize,
    first: usize,
    reading: Reading,
}

impl Shape {
    /// Rows and pixels a row of a patch.
    fn patch(&self) -> [usize; 2] {
        patch(self.stride)
    }

    /// Rows and values a row of `dy` that reach a patch.
    fn reach(&self) -> [usize; 2] {
        if self.stride == 1 { [3, 6] } else { [2, 2] }
    }

    /// How far `dy`'s first value that reaches a patch is before the patch.
    fn before(&self) -> usize {
        usize::from(self.stride == 1)
    }

    /// The tap that takes pixel `p` of a patch to value `(row, place)` of the `dy` that reach it, if one does.
    fn tap(&self, p: usize, row: usize, place: usize) -> Option<usize> {
        let [_, across] = self.patch();
        let along = |pixel: usize, value: usize| {
            (pixel + 1 + self.before() * self.stride)
                .checked_sub(value * self.stride)
                .filter(|tap| *tap < 3)
        };
        Some(3 * along(p / across, row)? + along(p % across, place)?)
    }
}

fn patch(stride: usize) -> [usize; 2] {
    if stride == 1 { [1, PATCH] } else { [2, 2] }
}

#[cube(launch_unchecked)]
fn backward_kernel<N: Size, M: Size>(
    g: &[Vector<f32, M>],
    y: &[Vector<f32, M>],
    factors: &[Vector<f32, M>],
    weight: &[f32],
    x: &[Vector<f32, N>],
    norm: &[Vector<f32, M>],
    g_in: &mut [Vector<f32, M>],
    parts: &mut [Vector<f32, M>],
    images: usize,
    height: usize,
    width: usize,
    tiles: usize,
    #[comptime] shape: Shape,
) {
    let block = comptime!(shape.block);
    let stride = comptime!(shape.stride);
    let channels = comptime!(block.channels);
    let down = comptime!(shape.patch()[0]);
    let across = comptime!(shape.patch()[1]);
    let mut shared = Shared::<[V4]>::new_slice(comptime!(shared_for_sums(block.units())));
    let unit_x = UNIT_POS as usize % comptime!(block.units_x);
    let unit_y = UNIT_POS as usize / comptime!(block.units_x);
    let column = CUBE_POS_Y as usize * comptime!(block.width()) + unit_x * 4;
    let columns = valid(column, channels);
    let rows = height.div_ceil(stride);
    let places = width.div_ceil(stride);
    let patches_down = height.div_ceil(down);
    let patches_across = width.div_ceil(across);
    let taps = taps(weight, column, columns);
    let factors = norm::rows::<M>(factors, column, columns, channels, Reading::Norm);
    let norm = norm::rows::<M>(norm, column, columns, channels, comptime!(shape.reading));
    let zero = V4::new(0.0);
    let mut sums = Array::<V4>::new(SUMS);
    #[unroll]
    for i in 0..SUMS {
        sums[i] = zero;
    }
    let mut values = Array::<V4>::new(PATCH);
    let mut z = Array::<V4>::new(PATCH);
    let mut dz = Array::<V4>::new(PATCH);
    for number in 0..tiles {
        let patch = (CUBE_POS_X as usize * tiles + number) * comptime!(block.units_y) + unit_y;
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
                let from = pixel * comptime!(shape.row) + comptime!(shape.first) + column;
                values[p] = load::<N>(x, from, columns);
                z[p] = norm::read_by(values[p], &norm, comptime!(shape.reading));
            }
        }
        #[unroll]
        for u in 0..comptime!(shape.reach()[0]) {
            // Counted from the row, and the place, before the map in stride 1.
            let row = i / stride + u;
            let before = comptime!(shape.before());
            let row_here = here && row >= before && row < rows + before;
            #[unroll]
            for v in 0..comptime!(shape.reach()[1]) {
                let place = j / stride + v;
                let mut dy = zero;
                if row_here && place >= before && place < places + before {
                    let pixel = (image * rows + row - before) * places + place - before;
                    let from = pixel * channels + column;
                    dy = norm::gradient_by(
                        load::<M>(g, from, columns),
                        load::<M>(y, from, columns),
                        &factors,
                    );
                }
                #[unroll]
                for p in 0..PATCH {
                    let tap = comptime!(shape.tap(p, u, v));
                    if comptime!(tap.is_some()) {
                        let tap = comptime!(tap.unwrap_or(0));
                        dz[p] = fma(taps[tap], dy, dz[p]);
                        sums[comptime!(2 + tap)] = fma(z[p], dy, sums[comptime!(2 + tap)]);
                    }
                }
            }
        }
        #[unroll]
        for p in 0..PATCH {
            if here && i + comptime!(p / across) < height && j + comptime!(p % across) < width {
                let pixel = first_pixel + comptime!(p / across) * width + comptime!(p % across);
                let mut gradient = dz[p];
                if comptime!(shape.reading == Reading::NormRelu) {
                    // Not by `z`, whose NaN a driver may have turned to zero: a NaN passes on.
                    let before = norm::read_by(values[p], &norm, Reading::Norm);
                    gradient = select_many(before.less_equal(&zero), zero, gradient);
                }
                store::<M>(g_in, pixel * channels + column, columns, gradient);
                sums[0] += gradient;
                if comptime!(shape.reading != Reading::Plain) {
                    sums[1] = fma(gradient, values[p] - norm[MEAN], sums[1]);
                }
            }
        }
    }
    write_sums::<M>(
        &sums,
        &mut shared,
        parts,
        CUBE_POS_X as usize,
        column,
        columns,
        SUMS,
        channels,
        comptime!(block.units_x),
        comptime!(block.units_y),
    );
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
    let share = Parts::of(patches.div_ceil(block.units_y));
    let g_in = Buffer::empty(client, images * height * width * channels);
    let parts = Buffer::empty(client, share.rows * SUMS * channels);
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
        backward_kernel::launch_unchecked(
            client,
            CubeCount::Static(share.rows as u32, block.blocks as u32, 1),
            CubeDim::new_1d(block.units() as u32),
            n,
            m,
            behind.g.arg(m),
            behind.y.arg(m),
            behind.factors.arg(m),
            weight.arg(1),
            x.data.arg(n),
            norm.arg(m),
            g_in.arg(m),
            parts.arg(m),
            images,
            height,
            width,
            share.tiles,
            shape,
        );
    }
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
