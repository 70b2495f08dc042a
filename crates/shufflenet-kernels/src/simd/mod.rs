//! Vectors of float32 and the choice of instruction set, made once at run time.
//!
//! A kernel is a struct of its arguments that implements [`Kernel`]. Its body is written once, over the operations of
//! [`Simd`], and [`Isa::run`] compiles it for each instruction set of the target: AVX-512 with and without its instructions
//! for bfloat16, and AVX2 with FMA, on x86-64; NEON on AArch64; vectors of 128 bits in WebAssembly; plain Rust on every
//! other processor. Users need no compiler flags. Different sets add in different orders, so their results may differ in
//! the last bits. One set always gives the same bits.
//!
//! AMX is AVX-512 and, for matrix products of bfloat16, tile registers ([`amx`]). `avx512_bf16` multiplies pairs of
//! bfloat16. Such products round both operands to bfloat16, while the other sets widen them to float32 ([`Products`]).

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod amx;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
#[path = "no_amx.rs"]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
pub(crate) mod stored;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

pub use isa::Isa;
pub(crate) use isa::Products;

/// Operations on one vector of float32. A value of an implementing type proves that the processor
/// has the instructions, because only [`Isa::run`] makes one.
pub trait Simd: Copy {
    /// Floats in a vector.
    const LANES: usize;
    /// Rows of a matrix product's tile that is 4, 3, 2 or 1 vectors wide, such that its vectors fit
    /// the registers; 0 for a width that does not fit.
    const TILE_ROWS: [usize; 4];
    /// Type of a vector.
    type Vector: Copy;

    /// A vector with `x` in every lane.
    fn splat(self, x: f32) -> Self::Vector;
    /// # Safety
    /// `p` points at [`Self::LANES`] readable floats.
    unsafe fn load(self, p: *const f32) -> Self::Vector;
    /// Loads the first `n` floats and fills the other lanes with zeros; loads all lanes for `n >= LANES`.
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` readable floats.
    unsafe fn load_first(self, p: *const f32, n: usize) -> Self::Vector;
    /// # Safety
    /// `p` points at [`Self::LANES`] writable floats.
    unsafe fn store(self, p: *mut f32, v: Self::Vector);
    /// Stores the first `n` lanes; stores all lanes for `n >= LANES`.
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` writable floats.
    unsafe fn store_first(self, p: *mut f32, n: usize, v: Self::Vector);
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a` where `a > b`, else `b`. So `max(0, x)` is a ReLU that keeps NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `value` in the lanes where `sign > 0`, zero in the others: the gradient of a ReLU.
    fn where_positive(self, sign: Self::Vector, value: Self::Vector) -> Self::Vector;
    /// `x` in the lanes where `a > b`, `y` in the others.
    fn select_greater(
        self,
        a_b: [Self::Vector; 2],
        x: Self::Vector,
        y: Self::Vector,
    ) -> Self::Vector;
    /// `value` in the lanes where `a == b`, zero in the others.
    fn where_equal(self, a: Self::Vector, b: Self::Vector, value: Self::Vector) -> Self::Vector;
    /// `a0 b0 a1 b1 ...`, in two vectors.
    fn interleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);
    /// The inverse of [`Self::interleave`].
    fn deinterleave(self, a: Self::Vector, b: Self::Vector) -> (Self::Vector, Self::Vector);
    /// Widens the first `n` bfloat16 values and fills the other lanes with zeros; loads all lanes for `n >= LANES`.
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` readable values.
    unsafe fn load_bf16_first(self, p: *const u16, n: usize) -> Self::Vector;
    /// Stores the upper halves of the first `n` lanes; of all lanes for `n >= LANES`.
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` writable values.
    unsafe fn store_upper_first(self, p: *mut u16, n: usize, v: Self::Vector);
    /// The bfloat16 nearest to each lane in its upper half, as [`stored`] says; the lower half is unspecified.
    fn round_bf16(self, v: Self::Vector) -> Self::Vector;
    /// Rounds as [`Self::round_bf16`] does and stores the first `n` lanes; all lanes for `n >= LANES`.
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` writable values.
    #[inline(always)]
    unsafe fn store_rounded_first(self, p: *mut u16, n: usize, v: Self::Vector) {
        // SAFETY: the caller's promise.
        unsafe { self.store_upper_first(p, n, self.round_bf16(v)) }
    }
    /// Rounds as [`Self::round_bf16`] does and pairs: `a` in the lower halves, `b` in the upper ones.
    #[inline(always)]
    fn pair_rounded(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        self.pair_upper(self.round_bf16(a), self.round_bf16(b))
    }
    /// `c` and both products of the bfloat16 pairs in each lane of `a` and `b`.
    #[inline(always)]
    fn add_dot(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        let (a, b) = (self.unpair_bf16(a), self.unpair_bf16(b));
        self.mul_add(a.0, b.0, self.mul_add(a.1, b.1, c))
    }
    /// Each lane's bits as two bfloat16 values, the lower and the upper half, widened.
    fn unpair_bf16(self, v: Self::Vector) -> (Self::Vector, Self::Vector);
    /// The inverse of [`Self::unpair_bf16`]: takes the upper halves of the lanes.
    fn pair_upper(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Prefetches the cache line at `p`. Any address is allowed.
    fn prefetch(self, p: *const u8);
    /// Prefetches the cache line at `p` to the second-level cache. Any address is allowed.
    fn prefetch_far(self, p: *const u8);
}

/// A computation written over [`Simd`]. `run` and every function that it calls per vector must be
/// `#[inline(always)]`, so that they are compiled with the instruction set's features.
pub trait Kernel {
    fn run<S: Simd>(self, simd: S);
}
