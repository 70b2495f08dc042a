//! What maps are stored as: float32 or bfloat16. All computation is in float32.
//!
//! A bfloat16 is the upper half of a float32: sign, eight bits of exponent, seven of mantissa. WGSL has no such type,
//! so a map's memory is words of 32 bits to every kernel: a float32, or two bfloat16 of neighbouring channels, the
//! first in the lower half. A kernel is written once, for both. A load shifts. What a kernel stores it rounds once
//! (`rounded`), as the CPU does: to the nearest, and to the even one of two that are equally near; NaN stays NaN. Sums
//! are of the values as they are stored.
//!
//! A word has the channels of one pixel, so maps in bfloat16 have an even number of channels, and a part of them begins at
//! an even one.

use cubecl::prelude::*;

use crate::vector::V4;

/// What a map's values are stored as.
#[derive_cube_comptime]
pub enum Stored {
    /// float32.
    F32,
    /// bfloat16.
    Bf16,
}

impl Stored {
    /// Values in a word of 32 bits.
    pub const fn in_word(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }

    /// Bytes of a number of values.
    pub const fn bytes(self, values: usize) -> usize {
        values.div_ceil(self.in_word()) * size_of::<u32>()
    }
}

/// The bits of four float32 values.
pub(crate) type U4 = Vector<u32, Const<4>>;

/// The upper half of a word.
const UPPER: u32 = 0xffff_0000;
/// All bits of a float32 but the sign.
pub(crate) const UNSIGNED: u32 = 0x7fff_ffff;
/// The bits of infinity; NaN has more.
const INFINITY: u32 = 0x7f80_0000;
/// The bit that makes a NaN quiet. It is in the upper half, so that rounding keeps it.
const QUIET: u32 = 0x0040_0000;
/// One less than half of the lowest bit that bfloat16 has.
const BELOW_HALF: u32 = 0x7fff;

/// The four values of a map from number `at` on. Those from the `valid`th on are zero and not read.
#[cube]
pub(crate) fn load_map<W: Size>(
    map: &[Vector<u32, W>],
    at: usize,
    valid: usize,
    #[comptime] stored: Stored,
) -> V4 {
    let words = W::value();
    let each = comptime!(words * stored.in_word());
    let mut bits = U4::new(0u32);
    #[unroll]
    for part in 0..comptime!(4 / each) {
        if part * each < valid {
            let vector = map[at / each + part];
            #[unroll]
            for i in 0..words {
                let word = vector.extract(i);
                match stored {
                    Stored::F32 => bits.insert(comptime!(part * each + i), word),
                    Stored::Bf16 => {
                        bits.insert(comptime!(part * each + 2 * i), word << 16u32);
                        bits.insert(comptime!(part * each + 2 * i + 1), word & UPPER);
                    }
                }
            }
        }
    }
    V4::reinterpret(bits)
}

/// The values as they are stored.
#[cube]
pub(crate) fn rounded(four: V4, #[comptime] stored: Stored) -> V4 {
    match stored {
        Stored::F32 => four,
        Stored::Bf16 => {
            let bits = U4::reinterpret(four);
            let odd = (bits >> U4::new(16u32)) & U4::new(1u32);
            let nearest = bits + U4::new(BELOW_HALF) + odd;
            let is_nan = (bits & U4::new(UNSIGNED)).greater_than(&U4::new(INFINITY));
            let stored = select_many(is_nan, bits | U4::new(QUIET), nearest);
            V4::reinterpret(stored & U4::new(UPPER))
        }
    }
}

/// Writes the first `valid` of the four values, which are [`rounded`], to number `at` of a map and behind it.
#[cube]
pub(crate) fn store_map<W: Size>(
    map: &mut [Vector<u32, W>],
    at: usize,
    valid: usize,
    four: V4,
    #[comptime] stored: Stored,
) {
    let words = W::value();
    let each = comptime!(words * stored.in_word());
    let bits = U4::reinterpret(four);
    #[unroll]
    for part in 0..comptime!(4 / each) {
        if part * each < valid {
            let mut vector = Vector::<u32, W>::new(0u32);
            #[unroll]
            for i in 0..words {
                match stored {
                    Stored::F32 => vector.insert(i, bits.extract(comptime!(part * each + i))),
                    Stored::Bf16 => {
                        let lower = bits.extract(comptime!(part * each + 2 * i));
                        let upper = bits.extract(comptime!(part * each + 2 * i + 1));
                        vector.insert(i, (lower >> 16u32) | (upper & UPPER));
                    }
                }
            }
            map[at / each + part] = vector;
        }
    }
}

/// The value of number `at` of a map.
#[cube]
pub(crate) fn load_value(map: &[u32], at: usize, #[comptime] stored: Stored) -> f32 {
    match stored {
        Stored::F32 => f32::reinterpret(map[at]),
        Stored::Bf16 => {
            let word = map[at / 2];
            f32::reinterpret(select(at % 2 == 1, word & UPPER, word << 16u32))
        }
    }
}

/// Writes the values of a word, the first of `four`, which are [`rounded`], to number `at` of a map.
#[cube]
pub(crate) fn store_word(map: &mut [u32], at: usize, four: V4, #[comptime] stored: Stored) {
    let bits = U4::reinterpret(four);
    match stored {
        Stored::F32 => map[at] = bits.extract(0usize),
        Stored::Bf16 => {
            map[at / 2] = (bits.extract(0usize) >> 16u32) | (bits.extract(1usize) & UPPER);
        }
    }
}
