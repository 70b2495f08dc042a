//! 3x3 max pooling of stride 2 behind norm and ReLU, forward. Its backward is in [`crate::relu_gradient`].
//!
//! ```text
//! out[i, j] = max over u, v of z[2 i + u - padding, 2 j + v - padding],    z = relu(norm(y))
//! ```
//!
//! The kernel also stores which of the nine values each maximum was, `3 u + v`: the first of equals. `z` has no negative
//! value, so `z` is taken as zero outside the map, as on the CPU.
//!
//! Values are compared by their bits, as whole numbers: without the sign, bits of float32 values are in the values' order,
//! and NaN is above all. So a NaN is the maximum of its window, on every device: compilers for graphics may lose it where
//! float32 values are compared.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::norm::{self, ROWS, Reading};
use crate::stored::{Stored, U4, UNSIGNED, load_map, rounded, store_map};
use crate::traffic::Launch;
use crate::vector::{self, V4, valid};

/// Threads of a workgroup.
const THREADS: u32 = 256;

/// The places of four channels are one number, of [`PLACE_BITS`] bits each.
pub(crate) const PLACE_BITS: u32 = 8;
pub(crate) const PLACE_MASK: u32 = 0xff;

/// Height or width after pooling.
///
/// # Panics
/// If the padded map is smaller than a window.
pub fn pooled(side: usize, padding: usize) -> usize {
    assert!(side + 2 * padding >= 3, "a map smaller than the 3x3 window");
    (side + 2 * padding - 3) / 2 + 1
}

#[cube(launch_unchecked)]
fn max_pool_forward<N: Size, W: Size>(
    y: &[Vector<u32, W>],
    norm: &[Vector<f32, N>],
    out: &mut [Vector<u32, W>],
    places: &mut [u32],
    pixels: usize,
    height: usize,
    width: usize,
    map_height: usize,
    map_width: usize,
    channels: usize,
    padding: usize,
    #[comptime] stored: Stored,
) {
    let quads = channels.div_ceil(4);
    let at = ABSOLUTE_POS;
    let pixel = at / quads;
    let column = at % quads * 4;
    if pixel < pixels {
        let columns = valid(column, channels);
        let norm = norm::rows::<N>(norm, column, columns, channels, Reading::NormRelu);
        let j = pixel % map_width;
        let i = pixel / map_width % map_height;
        let image = pixel / map_width / map_height;
        let mut most = U4::new(0u32);
        let mut place = U4::new(0u32);
        for tap in 0..9usize {
            // Counted with the padding.
            let row = 2 * i + tap / 3;
            let column_of_map = 2 * j + tap % 3;
            if row >= padding
                && row < height + padding
                && column_of_map >= padding
                && column_of_map < width + padding
            {
                let from = (image * height + row - padding) * width + column_of_map - padding;
                let value = load_map::<W>(y, from * channels + column, columns, stored);
                let z = norm::read_by(value, &norm, Reading::NormRelu);
                let bits = U4::reinterpret(z) & U4::new(UNSIGNED);
                let more = bits.greater_than(&most);
                place = select_many(more, U4::new(tap as u32), place);
                most = select_many(more, bits, most);
            }
        }
        let value = rounded(V4::reinterpret(most), stored);
        store_map::<W>(out, pixel * channels + column, columns, value, stored);
        let mut packed = 0u32;
        #[unroll]
        for c in 0..4usize {
            packed |= place.extract(c) << comptime!(PLACE_BITS * c as u32);
        }
        places[at] = packed;
    }
}

/// The pooled map, `[pooled pixels, channels]`, and the places of the maxima, a u32 for four channels of a pixel. `y` has
/// `images` of `height` x `width` pixels, and `norm` is its norm.
pub fn max_pool(
    y: &Buffer,
    norm: &Buffer,
    [images, height, width]: [usize; 3],
    padding: usize,
) -> (Buffer, Buffer) {
    let client = &y.client;
    let channels = norm.len / ROWS;
    let [map_height, map_width] = [height, width].map(|side| pooled(side, padding));
    let pixels = images * map_height * map_width;
    let threads = pixels * channels.div_ceil(4);
    let stored = y.stored;
    let out = Buffer::map(client, pixels * channels, stored);
    let places = Buffer::empty(client, threads);
    let n = vector::width(&[channels], stored);
    let launch = Launch::of("max pooling")
        .reads_all([y, norm])
        .writes_all([&out, &places]);
    launch.run(|| {
        // SAFETY: pixels, rows, places and channels are compared with their numbers before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            max_pool_forward::launch_unchecked(
                client,
                vector::workgroups(threads, THREADS),
                CubeDim::new_1d(THREADS),
                n,
                n / stored.in_word(),
                y.arg(n),
                norm.arg(n),
                out.arg(n),
                places.arg(1),
                pixels,
                height,
                width,
                map_height,
                map_width,
                channels,
                padding,
                stored,
            );
        }
    });
    (out, places)
}
