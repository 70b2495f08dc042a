//! [`Simd`] in AVX2 and FMA: eight lanes, with masked moves for the first of them.

use std::arch::x86_64::*;

use crate::simd::{Kernel, Simd};

/// Eight lanes. Only [`Isa::run`](crate::simd::Isa::run) makes a value, which proves that the
/// processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(pub(crate) ());

/// # Safety
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn run_avx2(kernel: impl Kernel, simd: Avx2) {
    kernel.run(simd);
}

/// Mask of the lanes below `n`, in the sign bits that AVX2's masked moves read.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn mask8(n: usize) -> __m256i {
    const ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: eight entries from `8 - min(n, 8)` on are within the sixteen; AVX2 implies AVX.
    unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - n.min(8)).cast()) }
}

/// Mask of the 32-bit lanes below `n`, of four.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn mask4(n: usize) -> __m128i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_castsi256_si128(mask8(n)) }
}

/// Ones in 16-bit lane `lane` of eight.
///
/// # Safety
/// The processor has AVX2, and `lane` is below 8.
#[inline(always)]
unsafe fn only(lane: usize) -> __m128i {
    const ONE: [i16; 15] = [0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: eight entries from `7 - lane` on are within the fifteen.
    unsafe { _mm_loadu_si128(ONE.as_ptr().add(7 - lane).cast()) }
}

/// The bits of each lane with the nearest bfloat16 in the upper half; the lower half is unspecified.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn rounded8(v: __m256) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let bits = _mm256_castps_si256(v);
        // Half a step less one, and one more where the upper half is odd, so that a tie goes to the even value.
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let near = _mm256_add_epi32(bits, _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
        _mm256_blendv_epi8(near, quiet, nan)
    }
}

/// The upper halves of the lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn upper8(v: __m256i) -> __m128i {
    // SAFETY: the caller's promise. The lanes are below 2^16, so that packing does not saturate.
    unsafe {
        let lanes = _mm256_srli_epi32::<16>(v);
        _mm_packus_epi32(
            _mm256_castsi256_si128(lanes),
            _mm256_extracti128_si256::<1>(lanes),
        )
    }
}

// SAFETY of every block below: a value of type `Avx2` proves that the processor has AVX2 and FMA.
// Each method's contract says what its pointers must point at.
impl Simd for Avx2 {
    const LANES: usize = 8;
    // Of 16 registers, 12 hold the tile.
    const TILE_ROWS: [usize; 4] = [0, 4, 6, 12];
    type Vector = __m256;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> __m256 {
        // SAFETY: see above; masked lanes are not accessed.
        unsafe { _mm256_maskload_ps(p, mask8(n)) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize, v: __m256) {
        // SAFETY: see above; masked lanes are not accessed.
        unsafe { _mm256_maskstore_ps(p, mask8(n), v) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn where_positive(self, sign: __m256, value: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(sign, _mm256_setzero_ps());
            _mm256_and_ps(positive, value)
        }
    }

    #[inline(always)]
    fn select_greater(self, [a, b]: [__m256; 2], x: __m256, y: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_GT_OQ>(a, b)) }
    }

    #[inline(always)]
    fn where_equal(self, a: __m256, b: __m256, value: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b), value) }
    }

    #[inline(always)]
    fn interleave(self, a: __m256, b: __m256) -> (__m256, __m256) {
        // SAFETY: see above. Each half becomes a0 b0 a1 b1 and a2 b2 a3 b3; then the halves are joined.
        unsafe {
            let first = _mm256_unpacklo_ps(a, b);
            let second = _mm256_unpackhi_ps(a, b);
            (
                _mm256_permute2f128_ps::<0x20>(first, second),
                _mm256_permute2f128_ps::<0x31>(first, second),
            )
        }
    }

    #[inline(always)]
    fn deinterleave(self, a: __m256, b: __m256) -> (__m256, __m256) {
        // SAFETY: see above. Joins both lower halves and both upper halves, then takes every second lane.
        unsafe {
            let lower = _mm256_permute2f128_ps::<0x20>(a, b);
            let upper = _mm256_permute2f128_ps::<0x31>(a, b);
            // Even lanes of `lower` in each 128-bit half: a0 a2 | b0 b2; of `upper`: a4 a6 | b4 b6.
            let even = _mm256_shuffle_ps::<0b10_00_10_00>(lower, upper);
            let odd = _mm256_shuffle_ps::<0b11_01_11_01>(lower, upper);
            (even, odd)
        }
    }

    #[inline(always)]
    unsafe fn load_bf16_first(self, p: *const u16, n: usize) -> __m256 {
        // SAFETY: see above; values from the `n`th on are not accessed.
        unsafe {
            let halves = match n >= 8 {
                true => _mm_loadu_si128(p.cast()),
                // AVX2 masks 32 bits: pairs, and the last value on its own if it has no partner.
                false => {
                    let pairs = _mm_maskload_epi32(p.cast(), mask4(n / 2));
                    match n % 2 {
                        0 => pairs,
                        _ => {
                            let last = _mm_set1_epi16(*p.add(n - 1) as i16);
                            _mm_or_si128(pairs, _mm_and_si128(last, only(n - 1)))
                        }
                    }
                }
            };
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
        }
    }

    #[inline(always)]
    fn round_bf16(self, v: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_castsi256_ps(rounded8(v)) }
    }

    #[inline(always)]
    unsafe fn store_upper_first(self, p: *mut u16, n: usize, v: __m256) {
        // SAFETY: see above; values from the `n`th on are not accessed.
        unsafe {
            let halves = upper8(_mm256_castps_si256(v));
            if n >= 8 {
                return _mm_storeu_si128(p.cast(), halves);
            }
            _mm_maskstore_epi32(p.cast(), mask4(n / 2), halves);
            if n % 2 == 1 {
                let mut all = [0u16; 8];
                _mm_storeu_si128(all.as_mut_ptr().cast(), halves);
                *p.add(n - 1) = all[n - 1];
            }
        }
    }

    #[inline(always)]
    fn unpair_bf16(self, v: __m256) -> (__m256, __m256) {
        // SAFETY: see above.
        unsafe {
            let bits = _mm256_castps_si256(v);
            let upper = _mm256_and_si256(bits, _mm256_set1_epi32(!0xffff));
            (
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits)),
                _mm256_castsi256_ps(upper),
            )
        }
    }

    #[inline(always)]
    fn pair_upper(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above. Every second 16-bit lane is an upper half.
        unsafe {
            let lower = _mm256_srli_epi32::<16>(_mm256_castps_si256(a));
            let upper = _mm256_castps_si256(b);
            _mm256_castsi256_ps(_mm256_blend_epi16::<0b1010_1010>(lower, upper))
        }
    }

    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        // SAFETY: see above; a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    fn prefetch_far(self, p: *const u8) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
}
