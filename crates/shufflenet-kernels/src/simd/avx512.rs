//! [`Simd`] in AVX-512: F, BW and VL, and with or without BF16.
//!
//! BF16 rounds two vectors to bfloat16 in one instruction, and multiplies pairs: `VDPBF16PS` adds the two products of
//! each lane's pairs to the lane's float32 (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2). Both
//! take subnormal numbers for zero in any mode.

use std::arch::x86_64::*;
use std::mem::transmute;

use crate::simd::{Kernel, Simd};

/// Sixteen lanes. Only [`Isa::run`](crate::simd::Isa::run) makes a value, which proves that the
/// processor has AVX-512, with the instructions for bfloat16 if `BF16` says so.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>(pub(crate) ());

/// # Safety
/// The processor has AVX-512F, AVX-512BW, AVX-512VL, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
pub(crate) unsafe fn run_avx512(kernel: impl Kernel, simd: Avx512<false>) {
    kernel.run(simd);
}

/// # Safety
/// The processor has what [`run_avx512`] needs, and AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")]
pub(crate) unsafe fn run_avx512_bf16(kernel: impl Kernel, simd: Avx512<true>) {
    kernel.run(simd);
}

/// Mask of the lanes below `n`.
#[inline(always)]
fn mask16(n: usize) -> __mmask16 {
    if n >= 16 { 0xffff } else { (1 << n) - 1 }
}

/// The bits of each lane with the nearest bfloat16 in the upper half; the lower half is unspecified.
///
/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
unsafe fn rounded16(v: __m512) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let bits = _mm512_castps_si512(v);
        // Half a step less one, and one more where the upper half is odd, so that a tie goes to the even value.
        let odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x1_0000));
        let near = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
        let near = _mm512_mask_add_epi32(near, odd, near, _mm512_set1_epi32(1));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        _mm512_mask_or_epi32(near, nan, bits, _mm512_set1_epi32(0x40_0000))
    }
}

/// The upper halves of the lanes.
///
/// # Safety
/// The processor has AVX-512F and BW.
#[inline(always)]
unsafe fn upper16(v: __m512i) -> __m256i {
    /// The upper half of each lane. One instruction takes them; to shift and to convert take three.
    const UPPER: [i16; 32] = [
        1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 1, 3, 5, 7, 9, 11, 13, 15, 17,
        19, 21, 23, 25, 27, 29, 31,
    ];
    // SAFETY: the caller's promise; the array has the size of a vector.
    unsafe {
        let upper = _mm512_loadu_si512(UPPER.as_ptr().cast());
        _mm512_castsi512_si256(_mm512_permutexvar_epi16(upper, v))
    }
}

/// The 16-bit lanes of two halves of a vector in turn: one of the lower half, one of the upper half.
const PAIRS: [i16; 32] = [
    0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
    13, 29, 14, 30, 15, 31,
];

// SAFETY of every block below: a value of type `Avx512` proves that the processor has AVX-512F, BW and VL, and BF16
// where that is `true`. Each method's contract says what its pointers must point at.
impl<const BF16: bool> Simd for Avx512<BF16> {
    const LANES: usize = 16;
    // Of 32 registers, 24 to 28 hold the tile.
    const TILE_ROWS: [usize; 4] = [6, 8, 12, 14];
    type Vector = __m512;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> __m512 {
        // SAFETY: see above; masked lanes are not accessed.
        unsafe { _mm512_maskz_loadu_ps(mask16(n), p) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize, v: __m512) {
        // SAFETY: see above; masked lanes are not accessed.
        unsafe { _mm512_mask_storeu_ps(p, mask16(n), v) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn where_positive(self, sign: __m512, value: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(sign, _mm512_setzero_ps());
            _mm512_maskz_mov_ps(positive, value)
        }
    }

    #[inline(always)]
    fn select_greater(self, [a, b]: [__m512; 2], x: __m512, y: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), x) }
    }

    #[inline(always)]
    fn where_equal(self, a: __m512, b: __m512, value: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), value) }
    }

    #[inline(always)]
    fn interleave(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: see above. Index i < 16 selects lane i of a, index 16 + i lane i of b.
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high =
                _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            (
                _mm512_permutex2var_ps(a, low, b),
                _mm512_permutex2var_ps(a, high, b),
            )
        }
    }

    #[inline(always)]
    fn deinterleave(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: see above.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            (
                _mm512_permutex2var_ps(a, even, b),
                _mm512_permutex2var_ps(a, odd, b),
            )
        }
    }

    #[inline(always)]
    unsafe fn load_bf16_first(self, p: *const u16, n: usize) -> __m512 {
        // SAFETY: see above; masked lanes are not accessed.
        unsafe {
            let halves = match n >= 16 {
                true => _mm256_loadu_si256(p.cast()),
                false => _mm256_maskz_loadu_epi16(mask16(n), p.cast()),
            };
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        }
    }

    #[inline(always)]
    unsafe fn store_upper_first(self, p: *mut u16, n: usize, v: __m512) {
        // SAFETY: see above; masked lanes are not accessed.
        unsafe {
            let halves = upper16(_mm512_castps_si512(v));
            _mm256_mask_storeu_epi16(p.cast(), mask16(n), halves);
        }
    }

    #[inline(always)]
    fn round_bf16(self, v: __m512) -> __m512 {
        // SAFETY: see above; the types have the same size.
        unsafe {
            if !BF16 {
                return _mm512_castsi512_ps(rounded16(v));
            }
            let halves = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        }
    }

    #[inline(always)]
    unsafe fn store_rounded_first(self, p: *mut u16, n: usize, v: __m512) {
        // SAFETY: see above; masked lanes are not accessed.
        unsafe {
            if !BF16 {
                return self.store_upper_first(p, n, self.round_bf16(v));
            }
            let halves = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
            _mm256_mask_storeu_epi16(p.cast(), mask16(n), halves);
        }
    }

    #[inline(always)]
    fn pair_rounded(self, a: __m512, b: __m512) -> __m512 {
        if !BF16 {
            return self.pair_upper(self.round_bf16(a), self.round_bf16(b));
        }
        // SAFETY: see above; the types have the same size.
        unsafe {
            let halves = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(b, a));
            let pairs = _mm512_loadu_si512(PAIRS.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(pairs, halves))
        }
    }

    #[inline(always)]
    fn add_dot(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above; the types have the same size.
        unsafe {
            if !BF16 {
                let (a, b) = (self.unpair_bf16(a), self.unpair_bf16(b));
                return self.mul_add(a.0, b.0, self.mul_add(a.1, b.1, c));
            }
            let [a, b] = [a, b].map(|pairs| transmute::<__m512, __m512bh>(pairs));
            _mm512_dpbf16_ps(c, a, b)
        }
    }

    #[inline(always)]
    fn unpair_bf16(self, v: __m512) -> (__m512, __m512) {
        // SAFETY: see above.
        unsafe {
            let bits = _mm512_castps_si512(v);
            let upper = _mm512_and_si512(bits, _mm512_set1_epi32(!0xffff));
            (
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)),
                _mm512_castsi512_ps(upper),
            )
        }
    }

    #[inline(always)]
    fn pair_upper(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above. Every second 16-bit lane is an upper half.
        unsafe {
            let lower = _mm512_srli_epi32::<16>(_mm512_castps_si512(a));
            let upper = _mm512_castps_si512(b);
            _mm512_castsi512_ps(_mm512_mask_blend_epi16(0xaaaa_aaaa, lower, upper))
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
