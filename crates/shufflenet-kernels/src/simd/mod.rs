//! Vectors of float32 and the choice of instruction set, made once at run time.
//!
//! A kernel is a struct of its arguments that implements [`Kernel`]. Its body is written once, over
//! the operations of [`Simd`], and [`Isa::run`] compiles it for each set of the target: AVX-512 with and without its
//! instructions for bfloat16, and AVX2 with FMA, on x86-64; NEON on AArch64; vectors of 128 bits in WebAssembly; portably for every other processor. Users need
//! no compiler flags. The environment variable `SHUFFLENET_ISA` (`amx`, `avx512_bf16`, `avx512`, `avx2`, `neon`, `simd128`, `portable`)
//! forces another set of the processor's than the fastest, for tests and comparisons. Different sets add in different
//! orders, so their results may
//! differ in the last bits. One set always gives the same bits.
//!
//! AMX is AVX-512 and, for matrix products of bfloat16, tile registers ([`amx`]). `avx512_bf16` multiplies pairs of bfloat16.
//! Such products round both operands to bfloat16, while the other sets widen them to float32 ([`Products`]).

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod amx;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
#[path = "no_amx.rs"]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
pub(crate) mod stored;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

use std::sync::OnceLock;

use portable::Portable;

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

/// Name of the environment variable that forces an instruction set.
const VARIABLE: &str = "SHUFFLENET_ISA";

/// Operands of a product of activations in bfloat16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Products {
    /// Vectors of float32: what is stored is widened.
    Widened,
    /// Vectors of pairs of bfloat16; the other operand is rounded.
    Pairs,
    /// Tiles of bfloat16; the other operand is rounded.
    Tiles,
}

/// Whether a product of pairs (`VDPBF16PS`) is issued as often as a float32 FMA, and so does twice the work: on AMD's
/// processors. On an EPYC of the Zen 4 both take 0.271 ns a vector of 16 lanes, and a step is 1.6 to 1.7 times as fast as in
/// float32 (`docs/performance.md`). A Xeon with AMX issued it at a quarter of the FMA's rate.
#[cfg(target_arch = "x86_64")]
fn pairs_are_fast() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    let words = [vendor.ebx, vendor.edx, vendor.ecx];
    words.map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512, with products of bfloat16 in the tile registers of AMX.
    Amx,
    /// AVX-512, with products of pairs of bfloat16 and conversions to it: AVX512-BF16.
    Avx512Bf16,
    /// Sixteen lanes: AVX-512F with BW and VL, which every processor with AVX-512 has but Xeon Phi.
    Avx512,
    /// Eight lanes: AVX2 and FMA.
    Avx2,
    /// Four lanes: NEON, on AArch64.
    Neon,
    /// Four lanes, in WebAssembly that was built with them.
    Simd128,
    /// Eight lanes in plain Rust, which the compiler translates to the target's instructions.
    Portable,
}

impl Isa {
    /// The fastest set that this processor has, or the set that `SHUFFLENET_ISA` names. A name that no
    /// set of this processor has is ignored; [`Self::asked_for`] returns it as an error. The choice is
    /// made once.
    pub fn detected() -> Self {
        static CHOICE: OnceLock<Isa> = OnceLock::new();
        *CHOICE.get_or_init(|| match Self::asked_for() {
            Ok(Some(isa)) => isa,
            Ok(None) | Err(_) => {
                let fastest = Self::available().into_iter().next();
                fastest.unwrap_or(Self::Portable)
            }
        })
    }

    /// The set that `SHUFFLENET_ISA` names; `None` if the variable is unset or empty.
    ///
    /// # Errors
    /// The variable's value, if no set of this processor has that name.
    pub fn asked_for() -> Result<Option<Self>, String> {
        let wanted = match std::env::var_os(VARIABLE) {
            Some(wanted) if !wanted.is_empty() => wanted.to_string_lossy().into_owned(),
            _ => return Ok(None),
        };
        let mut available = Self::available().into_iter();
        let found = available.find(|isa| isa.name() == wanted);
        found.map(Some).ok_or(wanted)
    }

    /// Every set that this processor has, fastest first.
    pub fn available() -> Vec<Self> {
        #[cfg_attr(
            not(any(
                target_arch = "x86_64",
                target_arch = "aarch64",
                all(target_arch = "wasm32", target_feature = "simd128")
            )),
            expect(unused_mut)
        )]
        let mut sets = vec![Self::Portable];
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            sets.insert(0, Self::Neon);
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        sets.insert(0, Self::Simd128);
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.insert(0, Self::Avx2);
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                {
                    sets.insert(0, Self::Avx512);
                    if is_x86_feature_detected!("avx512bf16") {
                        sets.insert(usize::from(!pairs_are_fast()), Self::Avx512Bf16);
                    }
                    if amx::available() {
                        sets.insert(0, Self::Amx);
                    }
                }
            }
        }
        sets
    }

    /// Name of the set in `SHUFFLENET_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512Bf16 => "avx512_bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Simd128 => "simd128",
            Self::Portable => "portable",
        }
    }

    /// Floats in a vector of this set. Scratch rows are padded to a multiple of it.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Self::Amx | Self::Avx512Bf16 | Self::Avx512 => 16,
            Self::Avx2 | Self::Portable => 8,
            Self::Neon | Self::Simd128 => 4,
        }
    }

    /// [`Simd::TILE_ROWS`] of this set.
    pub(crate) const fn tile_rows(self) -> [usize; 4] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx | Self::Avx512Bf16 | Self::Avx512 => avx512::Avx512::<false>::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Avx2::TILE_ROWS,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon::Neon::TILE_ROWS,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => wasm::Simd128::TILE_ROWS,
            _ => Portable::TILE_ROWS,
        }
    }

    /// What the products of 1x1 convolutions multiply where activations are bfloat16.
    pub(crate) const fn bf16_products(self) -> Products {
        match self {
            Self::Amx => Products::Tiles,
            Self::Avx512Bf16 => Products::Pairs,
            Self::Avx512 | Self::Avx2 | Self::Neon | Self::Simd128 | Self::Portable => {
                Products::Widened
            }
        }
    }

    /// `n` rounded up to whole vectors.
    pub(crate) const fn padded(self, n: usize) -> usize {
        n.next_multiple_of(self.lanes())
    }

    /// Runs a kernel with this set's instructions.
    pub(crate) fn run(self, kernel: impl Kernel) {
        #[cfg(target_arch = "x86_64")]
        {
            use avx2::{Avx2, run_avx2};
            use avx512::{Avx512, run_avx512, run_avx512_bf16};
            match self {
                // SAFETY: only `available` makes these sets, and only if the processor has them.
                Self::Amx | Self::Avx512 => return unsafe { run_avx512(kernel, Avx512(())) },
                // SAFETY: as above.
                Self::Avx512Bf16 => return unsafe { run_avx512_bf16(kernel, Avx512(())) },
                // SAFETY: as above.
                Self::Avx2 => return unsafe { run_avx2(kernel, Avx2(())) },
                Self::Neon | Self::Simd128 | Self::Portable => {}
            }
        }
        #[cfg(target_arch = "aarch64")]
        if self == Self::Neon {
            // Every function is compiled with NEON on these targets.
            return kernel.run(neon::Neon(()));
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        if self == Self::Simd128 {
            // Every function of the module is compiled with these vectors.
            return kernel.run(wasm::Simd128(()));
        }
        kernel.run(Portable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CI prints what this test prints.
    #[test]
    fn each_instruction_set_is_tested_or_named() {
        let available = Isa::available();
        for isa in [
            Isa::Amx,
            Isa::Avx512Bf16,
            Isa::Avx512,
            Isa::Avx2,
            Isa::Neon,
            Isa::Simd128,
            Isa::Portable,
        ] {
            let how = match available.contains(&isa) {
                false => "not tested: this processor lacks it",
                true if isa == Isa::Amx && amx::emulated() => "tested, its tiles emulated",
                true => "tested",
            };
            println!("kernels on {}: {how}", isa.name());
        }
        assert!(available.contains(&Isa::Portable));
        // Each test of products in tiles multiplies with them wherever there is AVX-512.
        let linux = cfg!(all(target_arch = "x86_64", target_os = "linux"));
        let vectors = available.contains(&Isa::Avx512);
        assert_eq!(available.contains(&Isa::Amx), linux && vectors);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn pairs_come_before_float32_only_where_they_are_fast() {
        let available = Isa::available();
        let place = |isa: Isa| available.iter().position(|set| *set == isa);
        if let Some(pairs) = place(Isa::Avx512Bf16) {
            assert_eq!(Some(pairs) < place(Isa::Avx512), pairs_are_fast());
        }
    }
}
