//! The gradient of a batch norm's output, from behind the ReLU after it.
//!
//! ```text
//! g = d[z > 0],    z = norm(y)
//! ```
//!
//! with `d` the gradient of `relu(z)`, which follows from `dout` and from what is behind the ReLU: nothing, the mean of
//! each image, or the 3x3 max pooling. A NaN in `z` lets the gradient pass. The kernel gathers the norm's two sums
//! ([`crate::gradient_sums`]).
//!
//! At most four windows of the pooling contain a pixel. A thread looks at all of them, and takes the gradient of those
//! whose maximum the pixel was: no two threads write one value.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::depthwise::{Block, THREADS};
use crate::gradient_sums::GradientSums;
use crate::max_pool::{PLACE_BITS, PLACE_MASK, pooled};
use crate::norm::{self, MEAN, ROWS, Reading};
use crate::parts::{Parts, shared_for_sums, write_sums};
use crate::stored::{Stored, load_map, rounded, store_map};
use crate::traffic::Launch;
use crate::vector::{self, V4, valid};

/// What is behind the ReLU.
pub enum Behind<'a> {
    /// Nothing: `dout` has a value for each of `y`'s.
    Nothing,
    /// The mean of each image: `dout` is `[images, channels]`.
    Mean,
    /// The max pooling of [`crate::max_pool`]: `dout` is `[pooled pixels, channels]`.
    Pool {
        /// The places of the maxima.
        places: &'a Buffer,
        /// The pooling's padding.
        padding: usize,
    },
}

/// [`Behind`] as the kernel is compiled for it.
#[derive_cube_comptime]
enum Source {
    Pixel,
    Mean,
    Pool,
}

#[derive_cube_comptime]
struct Shape {
    source: Source,
    /// Of `dout`.
    given: Stored,
    stored: Stored,
}

/// Rows of a workgroup's sums.
const SUMS: usize = 2;

/// The gradients of the windows whose maximum was pixel `(i, j)` of an image, added up. The pooled map has `rows` rows of
/// `row_places` pixels.
#[cube]
fn unpooled<D: Size>(
    dout: &[Vector<u32, D>],
    places: &[u32],
    image: usize,
    i: usize,
    j: usize,
    rows: usize,
    row_places: usize,
    column: usize,
    valid: usize,
    channels: usize,
    padding: usize,
    #[comptime] given: Stored,
) -> V4 {
    let mut sum = V4::new(0.0);
    for down in 0..2usize {
        for across in 0..2usize {
            // Place (u, v) of the window is the pixel.
            let u = (i + padding) % 2 + 2 * down;
            let v = (j + padding) % 2 + 2 * across;
            let row = (i + padding) / 2;
            let place = (j + padding) / 2;
            let inside =
                row >= down && row < rows + down && place >= across && place < row_places + across;
            if inside && u < 3 && v < 3 {
                let pixel = (image * rows + row - down) * row_places + place - across;
                let four = load_map::<D>(dout, pixel * channels + column, valid, given);
                let packed = places[pixel * channels.div_ceil(4) + column / 4];
                let here = (3 * u + v) as u32;
                #[unroll]
                for c in 0..4usize {
                    let maximum = (packed >> comptime!(PLACE_BITS * c as u32)) & PLACE_MASK;
                    let part = select(maximum == here, four.extract(c), 0.0);
                    sum.insert(c, sum.extract(c) + part);
                }
            }
        }
    }
    sum
}

#[cube(launch_unchecked)]
fn norm_relu_gradient<N: Size, D: Size, W: Size>(
    dout: &[Vector<u32, D>],
    places: &[u32],
    y: &[Vector<u32, W>],
    norm: &[Vector<f32, N>],
    g: &mut [Vector<u32, W>],
    parts: &mut [Vector<f32, N>],
    pixels: usize,
    height: usize,
    width: usize,
    map_height: usize,
    map_width: usize,
    padding: usize,
    tiles: usize,
    channels: usize,
    threads_x: usize,
    threads_y: usize,
    #[comptime] shape: Shape,
) {
    let given = comptime!(shape.given);
    let stored = comptime!(shape.stored);
    let mut shared = Shared::<[V4]>::new_slice(comptime!(shared_for_sums(THREADS)));
    let thread_x = UNIT_POS as usize % threads_x;
    let thread_y = UNIT_POS as usize / threads_x;
    let column = (CUBE_POS_Y as usize * threads_x + thread_x) * 4;
    let mut columns = 0usize;
    if thread_y < threads_y {
        columns = valid(column, channels);
    }
    let norm = norm::rows::<N>(norm, column, columns, channels, Reading::Norm);
    let zero = V4::new(0.0);
    let mut sums = Array::<V4>::new(SUMS);
    #[unroll]
    for i in 0..SUMS {
        sums[i] = zero;
    }
    for number in 0..tiles {
        let tile = CUBE_POS_X as usize * tiles + number;
        let pixel = tile * threads_y + thread_y;
        if pixel < pixels && columns > 0 {
            let at = pixel * channels + column;
            let y = load_map::<W>(y, at, columns, stored);
            let image = pixel / (height * width);
            let d = match comptime!(shape.source) {
                Source::Pixel => load_map::<D>(dout, at, columns, given),
                Source::Mean => {
                    let of_image = load_map::<D>(dout, image * channels + column, columns, given);
                    of_image / V4::new(f32::cast_from(height * width))
                }
                Source::Pool => unpooled::<D>(
                    dout,
                    places,
                    image,
                    pixel / width % height,
                    pixel % width,
                    map_height,
                    map_width,
                    column,
                    columns,
                    channels,
                    padding,
                    given,
                ),
            };
            let z = norm::read_by(y, &norm, Reading::Norm);
            let masked = rounded(select_many(z.less_equal(&zero), zero, d), stored);
            store_map::<W>(g, at, columns, masked, stored);
            sums[0] += masked;
            sums[1] = fma(masked, y - norm[MEAN], sums[1]);
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

/// `g`, `[pixels, channels]`, and the norm's sums. `y` has `images` of `height` x `width` pixels, and `norm` is its norm.
pub fn relu_gradient(
    dout: &Buffer,
    behind: &Behind,
    [images, height, width]: [usize; 3],
    y: &Buffer,
    norm: &Buffer,
) -> (Buffer, GradientSums) {
    let client = &y.client;
    let channels = norm.len / ROWS;
    let pixels = images * height * width;
    let block = Block::new(channels);
    let share = Parts::of(pixels.div_ceil(block.threads_y));
    let [given, stored] = [dout.stored, y.stored];
    let g = Buffer::map(client, y.len, stored);
    let parts = Buffer::empty(client, share.rows * SUMS * channels);
    // A kernel without a pooling reads no places.
    let (source, places, padding) = match behind {
        Behind::Nothing => (Source::Pixel, dout, 0),
        Behind::Mean => (Source::Mean, dout, 0),
        Behind::Pool { places, padding } => (Source::Pool, *places, *padding),
    };
    let map = match source {
        Source::Pixel | Source::Mean => [0, 0],
        Source::Pool => [height, width].map(|side| pooled(side, padding)),
    };
    let n = vector::width(&[channels], stored);
    let mut launch = Launch::of("relu, backward")
        .reads_all([dout, y, norm])
        .writes_all([&g, &parts]);
    if let Behind::Pool { places, .. } = behind {
        launch = launch.reads_all([places]);
    }
    launch.run(|| {
        // SAFETY: pixels, windows and channels are compared with their numbers before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            norm_relu_gradient::launch_unchecked(
                client,
                CubeCount::Static(share.rows as u32, block.blocks as u32, 1),
                CubeDim::new_1d(THREADS as u32),
                n,
                n / given.in_word(),
                n / stored.in_word(),
                dout.arg(n),
                places.arg(1),
                y.arg(n),
                norm.arg(n),
                g.arg(n),
                parts.arg(n),
                pixels,
                height,
                width,
                map[0],
                map[1],
                padding,
                share.tiles,
                channels,
                block.threads_x,
                block.threads_y,
                Shape {
                    source,
                    given,
                    stored,
                },
            );
        }
    });
    let sums = GradientSums {
        parts,
        rows: share.rows,
        row: SUMS * channels,
        first: 0,
        columns: channels,
    };
    (g, sums)
}
