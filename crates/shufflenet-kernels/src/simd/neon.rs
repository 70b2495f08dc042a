//! [`Simd`] in NEON, the vectors that every AArch64 processor has.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::simd::Simd;

/// Four lanes. Only [`Isa::run`](crate::simd::Isa::run) makes a value, which proves that the processor has NEON.
#[derive(Clone, Copy)]
pub(crate) struct Neon(pub(crate) ());

// SAFETY of every block below: a value of type `Neon` proves that the processor has NEON. Each method's contract says
// what its pointers must point at.
impl Simd for Neon {
    const LANES: usize = 4;
    // Of 32 registers, 24 hold the tile.
    const TILE_ROWS: [usize; 4] = [6, 8, 12, 14];
    type Vector = float32x4_t;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vld1q_f32(p) }
    }

    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> float32x4_t {
        // SAFETY: see above; values from the `n`th on are not accessed.
        unsafe {
            match n {
                0 => vdupq_n_f32(0.0),
                1 => vld1q_lane_f32::<0>(p, vdupq_n_f32(0.0)),
                2 => vcombine_f32(vld1_f32(p), vdup_n_f32(0.0)),
                3 => {
                    let two = vcombine_f32(vld1_f32(p), vdup_n_f32(0.0));
                    vld1q_lane_f32::<2>(p.add(2), two)
                }
                _ => vld1q_f32(p),
            }
        }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: see above.
        unsafe { vst1q_f32(p, v) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize, v: float32x4_t) {
        // SAFETY: see above; values from the `n`th on are not accessed.
        unsafe {
            match n {
                0 => {}
                1 => vst1q_lane_f32::<0>(p, v),
                2 => vst1_f32(p, vget_low_f32(v)),
                3 => {
                    vst1_f32(p, vget_low_f32(v));
                    vst1q_lane_f32::<2>(p.add(2), v);
                }
                _ => vst1q_f32(p, v),
            }
        }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above. Not `vmaxq_f32`, which treats NaN differently from the other instruction sets.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn where_positive(self, sign: float32x4_t, value: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { masked(vcgtzq_f32(sign), value) }
    }

    #[inline(always)]
    fn select_greater(
        self,
        [a, b]: [float32x4_t; 2],
        x: float32x4_t,
        y: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vbslq_f32(vcgtq_f32(a, b), x, y) }
    }

    #[inline(always)]
    fn where_equal(self, a: float32x4_t, b: float32x4_t, value: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { masked(vceqq_f32(a, b), value) }
    }

    #[inline(always)]
    fn interleave(self, a: float32x4_t, b: float32x4_t) -> (float32x4_t, float32x4_t) {
        // SAFETY: see above.
        unsafe { (vzip1q_f32(a, b), vzip2q_f32(a, b)) }
    }

    #[inline(always)]
    fn deinterleave(self, a: float32x4_t, b: float32x4_t) -> (float32x4_t, float32x4_t) {
        // SAFETY: see above.
        unsafe { (vuzp1q_f32(a, b), vuzp2q_f32(a, b)) }
    }

    #[inline(always)]
    unsafe fn load_bf16_first(self, p: *const u16, n: usize) -> float32x4_t {
        // SAFETY: see above; values from the `n`th on are not accessed.
        unsafe {
            let zero = vdup_n_u16(0);
            let halves = match n {
                0 => zero,
                1 => vld1_lane_u16::<0>(p, zero),
                2 => first_two(p),
                3 => vld1_lane_u16::<2>(p.add(2), first_two(p)),
                _ => vld1_u16(p),
            };
            vreinterpretq_f32_u32(vshll_n_u16::<16>(halves))
        }
    }

    #[inline(always)]
    fn round_bf16(self, v: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let bits = vreinterpretq_u32_f32(v);
            // Half a step less one, and one more where the upper half is odd, so that a tie goes to the even value.
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let near = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
            let quiet = vorrq_u32(bits, vdupq_n_u32(0x40_0000));
            // A NaN does not equal itself.
            vreinterpretq_f32_u32(vbslq_u32(vceqq_f32(v, v), near, quiet))
        }
    }

    #[inline(always)]
    unsafe fn store_upper_first(self, p: *mut u16, n: usize, v: float32x4_t) {
        // SAFETY: see above; values from the `n`th on are not accessed.
        unsafe {
            let halves = vshrn_n_u32::<16>(vreinterpretq_u32_f32(v));
            match n {
                0 => {}
                1 => vst1_lane_u16::<0>(p, halves),
                2 | 3 => {
                    let pair = vget_lane_u32::<0>(vreinterpret_u32_u16(halves));
                    p.cast::<u32>().write_unaligned(pair);
                    if n == 3 {
                        vst1_lane_u16::<2>(p.add(2), halves);
                    }
                }
                _ => vst1_u16(p, halves),
            }
        }
    }

    #[inline(always)]
    fn unpair_bf16(self, v: float32x4_t) -> (float32x4_t, float32x4_t) {
        // SAFETY: see above.
        unsafe {
            let bits = vreinterpretq_u32_f32(v);
            let upper = vandq_u32(bits, vdupq_n_u32(!0xffff));
            (
                vreinterpretq_f32_u32(vshlq_n_u32::<16>(bits)),
                vreinterpretq_f32_u32(upper),
            )
        }
    }

    #[inline(always)]
    fn pair_upper(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above. Shifts `a` right, and keeps the upper halves of `b`.
        unsafe {
            let [a, b] = [vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)];
            vreinterpretq_f32_u32(vsriq_n_u32::<16>(b, a))
        }
    }

    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe {
            asm!("prfm pldl1keep, [{}]", in(reg) p, options(nostack, readonly, preserves_flags))
        }
    }

    #[inline(always)]
    fn prefetch_far(self, p: *const u8) {
        // SAFETY: as above.
        unsafe {
            asm!("prfm pldl2keep, [{}]", in(reg) p, options(nostack, readonly, preserves_flags))
        }
    }
}

/// `value` where the mask is set, zero elsewhere.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
unsafe fn masked(mask: uint32x4_t, value: float32x4_t) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe { vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(value))) }
}

/// Two values, and zeros in the other lanes.
///
/// # Safety
/// The processor has NEON, and `p` points at two values.
#[inline(always)]
unsafe fn first_two(p: *const u16) -> uint16x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        let pair = p.cast::<u32>().read_unaligned();
        vreinterpret_u16_u32(vset_lane_u32::<0>(pair, vdup_n_u32(0)))
    }
}
