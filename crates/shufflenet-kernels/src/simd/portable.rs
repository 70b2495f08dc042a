//! Vectors of eight lanes in plain Rust, which the compiler translates to the target's instructions.

use super::Simd;

/// Plain Rust, eight lanes at a time.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 8;

#[inline(always)]
fn lanewise(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    let mut v = [0.0; LANES];
    for (lane, x) in v.iter_mut().enumerate() {
        *x = f(lane);
    }
    v
}

/// The half of a float32's bits that is its bfloat16.
const UPPER: u32 = 0xffff_0000;

/// The bits of `x` with the bfloat16 nearest to it in the upper half; the lower half is unspecified.
#[inline(always)]
fn rounded(x: f32) -> u32 {
    let bits = x.to_bits();
    // Half a step less one, and one more where the upper half is odd, so that a tie goes to the even value.
    let near = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    if x.is_nan() { bits | 0x0040_0000 } else { near }
}

impl Simd for Portable {
    const LANES: usize = LANES;
    const TILE_ROWS: [usize; 4] = [0, 0, 0, 4];
    type Vector = [f32; LANES];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::Vector {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::Vector {
        // SAFETY: the caller's promise; pairs of bfloat16, which are read as floats, may lie anywhere.
        unsafe { p.cast::<Self::Vector>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> Self::Vector {
        // SAFETY: only the first `n` are read, as the caller promises.
        lanewise(|lane| {
            if lane < n {
                unsafe { p.add(lane).read_unaligned() }
            } else {
                0.0
            }
        })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::Vector) {
        // SAFETY: the caller's promise; see `load`.
        unsafe { p.cast::<Self::Vector>().write_unaligned(v) };
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize, v: Self::Vector) {
        for (lane, x) in v.into_iter().enumerate().take(n) {
            // SAFETY: only the first `n` are written, as the caller promises.
            unsafe { p.add(lane).write_unaligned(x) };
        }
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        lanewise(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        lanewise(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // Not `f32::max`, which treats NaN differently from the vector instructions.
        lanewise(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // Not `f32::mul_add`, which is a library call where the target has no such instruction.
        lanewise(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn where_positive(self, sign: Self::Vector, value: Self::Vector) -> Self::Vector {
        lanewise(|i| if sign[i] > 0.0 { value[i] } else { 0.0 })
    }

    #[inline(always)]
    fn select_greater(
        self,
        [a, b]: [Self::Vector; 2],
        x: Self::Vector,
        y: Self::Vector,
    ) -> Self::Vector {
        lanewise(|i| if a[i] > b[i] { x[i] } else { y[i] })
    }

    #[inline(always)]
    fn where_equal(self, a: Self::Vector, b: Self::Vector, value: Self::Vector) -> Self::Vector {
        lanewise(|i| if a[i] == b[i] { value[i] } else { 0.0 })
    }

    #[inline(always)]
    fn interleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector) {
        let dealt = |i: usize| {
            if i.is_multiple_of(2) {
                a[i / 2]
            } else {
                b[i / 2]
            }
        };
        (lanewise(dealt), lanewise(|i| dealt(i + LANES)))
    }

    #[inline(always)]
    fn deinterleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector) {
        let at = |i: usize| if i < LANES { a[i] } else { b[i - LANES] };
        (lanewise(|i| at(2 * i)), lanewise(|i| at(2 * i + 1)))
    }

    #[inline(always)]
    unsafe fn load_bf16_first(self, p: *const u16, n: usize) -> Self::Vector {
        let mut halves = [0; LANES];
        // SAFETY: only the first `n` are read, as the caller promises; an array of `u16` needs no more alignment
        // than a `u16`.
        unsafe {
            match n >= LANES {
                // One load, which the compiler sees as a vector.
                true => halves = *p.cast::<[u16; LANES]>(),
                false => p.copy_to_nonoverlapping(halves.as_mut_ptr(), n),
            }
        }
        lanewise(|lane| f32::from_bits(u32::from(halves[lane]) << 16))
    }

    #[inline(always)]
    unsafe fn store_upper_first(self, p: *mut u16, n: usize, v: Self::Vector) {
        let halves = v.map(|x| (x.to_bits() >> 16) as u16);
        // SAFETY: only the first `n` are written, as the caller promises; alignment as above.
        unsafe {
            match n >= LANES {
                true => *p.cast::<[u16; LANES]>() = halves,
                false => halves.as_ptr().copy_to_nonoverlapping(p, n),
            }
        }
    }

    #[inline(always)]
    fn round_bf16(self, v: Self::Vector) -> Self::Vector {
        lanewise(|i| f32::from_bits(rounded(v[i])))
    }

    #[inline(always)]
    fn unpair_bf16(self, v: Self::Vector) -> (Self::Vector, Self::Vector) {
        (
            lanewise(|i| f32::from_bits(v[i].to_bits() << 16)),
            lanewise(|i| f32::from_bits(v[i].to_bits() & UPPER)),
        )
    }

    #[inline(always)]
    fn pair_upper(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        lanewise(|i| f32::from_bits(a[i].to_bits() >> 16 | b[i].to_bits() & UPPER))
    }

    #[inline(always)]
    fn prefetch(self, _p: *const u8) {}

    #[inline(always)]
    fn prefetch_far(self, _p: *const u8) {}
}
