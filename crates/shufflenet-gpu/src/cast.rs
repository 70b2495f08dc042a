//! Maps from float32 to bfloat16 and back: between kernels and parts of a network that have none.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::stored::{Stored, load_map, rounded, store_map};
use crate::traffic::Launch;
use crate::vector;

/// Threads of a workgroup.
const THREADS: u32 = 256;

/// A thread computes four values.
#[cube(launch_unchecked)]
fn cast_map<V: Size, W: Size>(
    from: &[Vector<u32, V>],
    to: &mut [Vector<u32, W>],
    values: usize,
    #[comptime] given: Stored,
    #[comptime] stored: Stored,
) {
    let at = ABSOLUTE_POS * 4;
    if at < values {
        let four = load_map::<V>(from, at, values - at, given);
        store_map::<W>(to, at, values - at, rounded(four, stored), stored);
    }
}

/// The values of `map`, stored as `stored`.
pub fn cast(map: &Buffer, stored: Stored) -> Buffer {
    let given = map.stored;
    let to = Buffer::map(&map.client, map.len, stored);
    // Of an odd number of bfloat16 the last word has one.
    let words = |stored: Stored| match map.len.is_multiple_of(4) {
        true => 4 / stored.in_word(),
        false => 1,
    };
    let launch = Launch::of("cast").reads_all([map]).writes_all([&to]);
    launch.run(|| {
        let arg = |buffer: &Buffer| buffer.arg(words(buffer.stored) * buffer.stored.in_word());
        // SAFETY: the place is compared with the number of values before each access.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            cast_map::launch_unchecked(
                &map.client,
                vector::workgroups(map.len.div_ceil(4), THREADS),
                CubeDim::new_1d(THREADS),
                words(given),
                words(stored),
                arg(map),
                arg(&to),
                map.len,
                given,
                stored,
            );
        }
    });
    to
}
