//! What activations are stored as: float32 or bfloat16. All computation is in float32, but for
//! products of bfloat16 in pairs ([`crate::kernels::pairs`]) and in the tile registers of AMX ([`crate::kernels::tiles`]).
//!
//! A kernel is written once over [`Stored`]. It loads a stored type into vectors of float32 and rounds once, when it
//! stores a result. bfloat16 is the upper half of a float32 (sign, eight bits of exponent, seven of mantissa), so
//! a load only shifts. A store rounds to the nearest, and to the even one of two that are equally near, on every
//! instruction set alike:
//!
//! - what is beyond the largest finite bfloat16 by half a step or more becomes infinite;
//! - a subnormal rounds like any other number, except that the instruction of AVX512-BF16 takes it for zero (threads that
//!   compute have none, see [`crate::runtime::subnormals`]);
//! - NaN keeps its sign and the upper bits of its payload, and becomes quiet, so that it never rounds to infinity.
//!
//! A value that was loaded from bfloat16 is stored as the same bits: moving it costs no accuracy.

use half::bf16;

use crate::simd::Simd;

/// A type that kernels load from and store to. The two types are `f32` and `bf16`.
pub trait Stored: Copy + Send + Sync + 'static {
    /// Zero.
    const ZERO: Self;

    /// The value in float32, exactly.
    fn widened(self) -> f32;

    /// The values as float32, if they are stored so.
    fn as_float32(values: &[Self]) -> Option<&[f32]>;

    /// The values as bfloat16, if they are stored so.
    fn as_bf16(values: &[Self]) -> Option<&[bf16]>;

    /// Loads the first `n` values and fills the other lanes with zeros; loads all lanes for `n >= LANES`.
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` readable values.
    unsafe fn load_first<S: Simd>(s: S, p: *const Self, n: usize) -> S::Vector;

    /// Stores the first `n` lanes; stores all lanes for `n >= LANES`.
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` writable values.
    unsafe fn store_first<S: Simd>(s: S, p: *mut Self, n: usize, v: S::Vector);

    /// The value that a store would leave. For bfloat16 it is in the upper half, and the lower half is unspecified.
    fn rounded<S: Simd>(s: S, v: S::Vector) -> S::Vector;

    /// [`Self::store_first`] of values of this type: loaded as such, or [`Self::rounded`].
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` writable values.
    unsafe fn store_rounded_first<S: Simd>(s: S, p: *mut Self, n: usize, v: S::Vector);

    /// Separates the first `n` pairs at `p` (one vector of pairs at most): their first and their second values.
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` readable pairs.
    unsafe fn load_pairs<S: Simd>(s: S, p: *const Self, n: usize) -> (S::Vector, S::Vector);

    /// The inverse of [`Self::load_pairs`], for values of this type: loaded as such, or [`Self::rounded`].
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` writable pairs.
    unsafe fn store_pairs<S: Simd>(s: S, p: *mut Self, n: usize, a: S::Vector, b: S::Vector);

    /// Pairs of bfloat16 from values that were loaded as this type: rounded, unless they are bfloat16 already.
    fn bf16_pairs<S: Simd>(s: S, a: S::Vector, b: S::Vector) -> S::Vector;
}

// SAFETY of every block below: each method passes its caller's promise on.
impl Stored for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }

    fn as_float32(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }

    fn as_bf16(_: &[Self]) -> Option<&[bf16]> {
        None
    }

    #[inline(always)]
    unsafe fn load_first<S: Simd>(s: S, p: *const Self, n: usize) -> S::Vector {
        // SAFETY: see above.
        unsafe { s.load_first(p, n) }
    }

    #[inline(always)]
    unsafe fn store_first<S: Simd>(s: S, p: *mut Self, n: usize, v: S::Vector) {
        // SAFETY: see above.
        unsafe { s.store_first(p, n, v) }
    }

    #[inline(always)]
    fn rounded<S: Simd>(_: S, v: S::Vector) -> S::Vector {
        v
    }

    #[inline(always)]
    unsafe fn store_rounded_first<S: Simd>(s: S, p: *mut Self, n: usize, v: S::Vector) {
        // SAFETY: see above.
        unsafe { s.store_first(p, n, v) }
    }

    #[inline(always)]
    unsafe fn load_pairs<S: Simd>(s: S, p: *const Self, n: usize) -> (S::Vector, S::Vector) {
        // SAFETY: see above; the second vector is read only if a pair reaches into it.
        let (low, high) = unsafe {
            let low = s.load_first(p, 2 * n);
            let high = match 2 * n > S::LANES {
                true => s.load_first(p.add(S::LANES), 2 * n - S::LANES),
                false => s.splat(0.0),
            };
            (low, high)
        };
        s.deinterleave(low, high)
    }

    #[inline(always)]
    unsafe fn store_pairs<S: Simd>(s: S, p: *mut Self, n: usize, a: S::Vector, b: S::Vector) {
        let (low, high) = s.interleave(a, b);
        // SAFETY: see above; the second vector is written only if a pair reaches into it.
        unsafe {
            s.store_first(p, 2 * n, low);
            if 2 * n > S::LANES {
                s.store_first(p.add(S::LANES), 2 * n - S::LANES, high);
            }
        }
    }

    #[inline(always)]
    fn bf16_pairs<S: Simd>(s: S, a: S::Vector, b: S::Vector) -> S::Vector {
        s.pair_rounded(a, b)
    }
}

// SAFETY of every block below: each method passes its caller's promise on. A `bf16` is a `u16`, and a pair of them
// has the size of a float32; no load or store of a vector needs more alignment than bytes.
impl Stored for bf16 {
    const ZERO: Self = bf16::ZERO;

    #[inline(always)]
    fn widened(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    fn as_float32(_: &[Self]) -> Option<&[f32]> {
        None
    }

    fn as_bf16(values: &[Self]) -> Option<&[bf16]> {
        Some(values)
    }

    #[inline(always)]
    unsafe fn load_first<S: Simd>(s: S, p: *const Self, n: usize) -> S::Vector {
        // SAFETY: see above.
        unsafe { s.load_bf16_first(p.cast(), n) }
    }

    #[inline(always)]
    unsafe fn store_first<S: Simd>(s: S, p: *mut Self, n: usize, v: S::Vector) {
        // SAFETY: see above.
        unsafe { s.store_rounded_first(p.cast(), n, v) }
    }

    #[inline(always)]
    fn rounded<S: Simd>(s: S, v: S::Vector) -> S::Vector {
        s.round_bf16(v)
    }

    #[inline(always)]
    unsafe fn store_rounded_first<S: Simd>(s: S, p: *mut Self, n: usize, v: S::Vector) {
        // SAFETY: see above.
        unsafe { s.store_upper_first(p.cast(), n, v) }
    }

    #[inline(always)]
    unsafe fn load_pairs<S: Simd>(s: S, p: *const Self, n: usize) -> (S::Vector, S::Vector) {
        // SAFETY: see above.
        s.unpair_bf16(unsafe { s.load_first(p.cast(), n) })
    }

    #[inline(always)]
    unsafe fn store_pairs<S: Simd>(s: S, p: *mut Self, n: usize, a: S::Vector, b: S::Vector) {
        // SAFETY: see above.
        unsafe { s.store_first(p.cast(), n, s.pair_upper(a, b)) }
    }

    #[inline(always)]
    fn bf16_pairs<S: Simd>(s: S, a: S::Vector, b: S::Vector) -> S::Vector {
        s.pair_upper(a, b)
    }
}

#[cfg(test)]
mod tests;
