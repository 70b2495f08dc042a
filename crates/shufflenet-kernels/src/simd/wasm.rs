//! [`Simd`] in WebAssembly's vectors of 128 bits, for a module that was built with them (`-C target-feature=+simd128`).

use std::arch::wasm32::*;

use crate::simd::Simd;

/// Four lanes. Only [`Isa::run`](crate::simd::Isa::run) makes a value.
#[derive(Clone, Copy)]
pub(crate) struct Simd128(pub(crate) ());

// SAFETY of every block below: each method's contract says what its pointers must point at.
impl Simd for Simd128 {
    const LANES: usize = 4;
    // An x86-64 processor has 16 registers for these vectors. Eight hold the tile: with more, browsers spill some.
    const TILE_ROWS: [usize; 4] = [2, 2, 4, 8];
    type Vector = v128;

    #[inline(always)]
    fn splat(self, x: f32) -> v128 {
        f32x4_splat(x)
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> v128 {
        // SAFETY: see above.
        unsafe { v128_load(p.cast()) }
    }

    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> v128 {
        // SAFETY: see above; values from the `n`th on are not accessed.
        unsafe {
            match n {
                0 => f32x4_splat(0.0),
                1 => v128_load32_zero(p.cast()),
                2 => v128_load64_zero(p.cast()),
                3 => v128_load32_lane::<2>(v128_load64_zero(p.cast()), p.add(2).cast()),
                _ => v128_load(p.cast()),
            }
        }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: v128) {
        // SAFETY: see above.
        unsafe { v128_store(p.cast(), v) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize, v: v128) {
        // SAFETY: see above; values from the `n`th on are not accessed.
        unsafe {
            match n {
                0 => {}
                1 => v128_store32_lane::<0>(v, p.cast()),
                2 => v128_store64_lane::<0>(v, p.cast()),
                3 => {
                    v128_store64_lane::<0>(v, p.cast());
                    v128_store32_lane::<2>(v, p.add(2).cast());
                }
                _ => v128_store(p.cast(), v),
            }
        }
    }

    #[inline(always)]
    fn add(self, a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }

    #[inline(always)]
    fn sub(self, a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }

    #[inline(always)]
    fn max(self, a: v128, b: v128) -> v128 {
        // `a` where `a > b`, else `b`: NaN as in the other instruction sets, and one instruction on x86-64.
        f32x4_pmax(b, a)
    }

    #[inline(always)]
    fn mul_add(self, a: v128, b: v128, c: v128) -> v128 {
        // There is no fused instruction among these.
        f32x4_add(f32x4_mul(a, b), c)
    }

    #[inline(always)]
    fn where_positive(self, sign: v128, value: v128) -> v128 {
        v128_and(f32x4_gt(sign, f32x4_splat(0.0)), value)
    }

    #[inline(always)]
    fn select_greater(self, [a, b]: [v128; 2], x: v128, y: v128) -> v128 {
        v128_bitselect(x, y, f32x4_gt(a, b))
    }

    #[inline(always)]
    fn where_equal(self, a: v128, b: v128, value: v128) -> v128 {
        v128_and(f32x4_eq(a, b), value)
    }

    #[inline(always)]
    fn interleave(self, a: v128, b: v128) -> (v128, v128) {
        (
            i32x4_shuffle::<0, 4, 1, 5>(a, b),
            i32x4_shuffle::<2, 6, 3, 7>(a, b),
        )
    }

    #[inline(always)]
    fn deinterleave(self, a: v128, b: v128) -> (v128, v128) {
        (
            i32x4_shuffle::<0, 2, 4, 6>(a, b),
            i32x4_shuffle::<1, 3, 5, 7>(a, b),
        )
    }

    #[inline(always)]
    unsafe fn load_bf16_first(self, p: *const u16, n: usize) -> v128 {
        let zero = u16x8_splat(0);
        // SAFETY: see above; values from the `n`th on are not accessed.
        let halves = unsafe {
            match n {
                0 => zero,
                1 => v128_load16_lane::<0>(zero, p),
                2 => v128_load32_zero(p.cast()),
                3 => v128_load16_lane::<2>(v128_load32_zero(p.cast()), p.add(2)),
                _ => v128_load64_zero(p.cast()),
            }
        };
        i16x8_shuffle::<8, 0, 8, 1, 8, 2, 8, 3>(halves, zero)
    }

    #[inline(always)]
    fn round_bf16(self, v: v128) -> v128 {
        // Half a step less one, and one more where the upper half is odd, so that a tie goes to the even value.
        let odd = v128_and(u32x4_shr(v, 16), u32x4_splat(1));
        let near = i32x4_add(v, i32x4_add(odd, u32x4_splat(0x7fff)));
        let quiet = v128_or(v, u32x4_splat(0x40_0000));
        // A NaN does not equal itself.
        v128_bitselect(near, quiet, f32x4_eq(v, v))
    }

    #[inline(always)]
    unsafe fn store_upper_first(self, p: *mut u16, n: usize, v: v128) {
        let halves = i16x8_shuffle::<1, 3, 5, 7, 1, 3, 5, 7>(v, v);
        // SAFETY: see above; values from the `n`th on are not accessed.
        unsafe {
            match n {
                0 => {}
                1 => v128_store16_lane::<0>(halves, p),
                2 => v128_store32_lane::<0>(halves, p.cast()),
                3 => {
                    v128_store32_lane::<0>(halves, p.cast());
                    v128_store16_lane::<2>(halves, p.add(2));
                }
                _ => v128_store64_lane::<0>(halves, p.cast()),
            }
        }
    }

    #[inline(always)]
    fn unpair_bf16(self, v: v128) -> (v128, v128) {
        (i32x4_shl(v, 16), v128_and(v, u32x4_splat(!0xffff)))
    }

    #[inline(always)]
    fn pair_upper(self, a: v128, b: v128) -> v128 {
        v128_or(u32x4_shr(a, 16), v128_and(b, u32x4_splat(!0xffff)))
    }

    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    #[inline(always)]
    fn prefetch_far(self, _: *const u8) {}
}
