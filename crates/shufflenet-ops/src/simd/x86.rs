//! [`Simd`] in the vector instructions of x86-64.

use std::arch::x86_64::*;

use crate::simd::{Kernel, Simd};

/// Sixteen lanes. Only [`Isa::run`](crate::simd::Isa::run) makes a value, which proves that the
/// processor has AVX-512.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(pub(crate) ());

/// Eight lanes. Only [`Isa::run`](crate::simd::Isa::run) makes a value, which proves that the
/// processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(pub(crate) ());

/// # Safety
/// The processor has AVX-512F, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(crate) unsafe fn run_avx512(kernel: impl Kernel, simd: Avx512) {
    kernel.run(simd);
}

/// # Safety
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn run_avx2(kernel: impl Kernel, simd: Avx2) {
    kernel.run(simd);
}

/// Mask of the lanes below `n`.
#[inline(always)]
fn mask16(n: usize) -> __mmask16 {
    if n >= 16 { 0xffff } else { (1 << n) - 1 }
}

// SAFETY of every block below: a value of type `Avx512` proves that the processor has AVX-512F.
// Each method's contract says what its pointers must point at.
impl Simd for Avx512 {
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
    fn prefetch(self, p: *const f32) {
        // SAFETY: see above; a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    fn prefetch_far(self, p: *const f32) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
}

/// Mask of the lanes below `n`, in the sign bits that AVX2's masked moves read.
#[inline(always)]
fn mask8(n: usize) -> __m256i {
    const ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: eight entries from `8 - min(n, 8)` on are within the sixteen; AVX2 implies AVX.
    unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - n.min(8)).cast()) }
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
    fn prefetch(self, p: *const f32) {
        // SAFETY: see above; a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    fn prefetch_far(self, p: *const f32) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
}
