//! The instruction sets, and the choice among those that the processor has.
//!
//! The environment variable `SHUFFLENET_ISA` (`amx`, `avx512_bf16`, `avx512`, `avx2`, `neon`, `simd128`, `portable`) forces
//! another set of the processor's than the fastest, for tests and comparisons.

use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::portable::Portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::wasm;
use super::{Kernel, Simd};
#[cfg(target_arch = "x86_64")]
use super::{amx, avx2, avx512};

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
/// processors. On an EPYC of the Zen 4 both take 0.271 ns a vector of 16 lanes, and a step is 1.6 to 1.7 times as fast
/// as in float32 (`docs/performance.md`). A Xeon with AMX issued it at a quarter of the FMA's rate.
#[cfg(target_arch = "x86_64")]
fn pairs_are_fast() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    let words = [vendor.ebx, vendor.edx, vendor.ecx];
    words.map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}

/// The knowledge that the processor has an instruction set. Only [`Isa::available`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found(());

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512, with products of bfloat16 in the tile registers of AMX.
    Amx(Found),
    /// AVX-512, with products of pairs of bfloat16 and conversions to it: AVX512-BF16.
    Avx512Bf16(Found),
    /// Sixteen lanes: AVX-512F with BW and VL, which every processor with AVX-512 has but Xeon Phi.
    Avx512(Found),
    /// Eight lanes: AVX2 and FMA.
    Avx2(Found),
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
                sets.insert(0, Self::Avx2(Found(())));
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                {
                    sets.insert(0, Self::Avx512(Found(())));
                    if is_x86_feature_detected!("avx512bf16") {
                        sets.insert(usize::from(!pairs_are_fast()), Self::Avx512Bf16(Found(())));
                    }
                    if amx::available() {
                        sets.insert(0, Self::Amx(Found(())));
                    }
                }
            }
        }
        sets
    }

    /// Name of the set in `SHUFFLENET_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amx(_) => "amx",
            Self::Avx512Bf16(_) => "avx512_bf16",
            Self::Avx512(_) => "avx512",
            Self::Avx2(_) => "avx2",
            Self::Neon => "neon",
            Self::Simd128 => "simd128",
            Self::Portable => "portable",
        }
    }

    /// Floats in a vector of this set. Scratch rows are padded to a multiple of it.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Self::Amx(_) | Self::Avx512Bf16(_) | Self::Avx512(_) => 16,
            Self::Avx2(_) | Self::Portable => 8,
            Self::Neon | Self::Simd128 => 4,
        }
    }

    /// [`Simd::TILE_ROWS`] of this set.
    pub(crate) const fn tile_rows(self) -> [usize; 4] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx(_) | Self::Avx512Bf16(_) | Self::Avx512(_) => {
                avx512::Avx512::<false>::TILE_ROWS
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => avx2::Avx2::TILE_ROWS,
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
            Self::Amx(_) => Products::Tiles,
            Self::Avx512Bf16(_) => Products::Pairs,
            Self::Avx512(_) | Self::Avx2(_) | Self::Neon | Self::Simd128 | Self::Portable => {
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
                Self::Amx(_) | Self::Avx512(_) => return unsafe { run_avx512(kernel, Avx512(())) },
                // SAFETY: as above.
                Self::Avx512Bf16(_) => return unsafe { run_avx512_bf16(kernel, Avx512(())) },
                // SAFETY: as above.
                Self::Avx2(_) => return unsafe { run_avx2(kernel, Avx2(())) },
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
    use crate::simd::amx;

    /// CI prints what this test prints.
    #[test]
    fn each_instruction_set_is_tested_or_named() {
        let available = Isa::available();
        for isa in [
            Isa::Amx(Found(())),
            Isa::Avx512Bf16(Found(())),
            Isa::Avx512(Found(())),
            Isa::Avx2(Found(())),
            Isa::Neon,
            Isa::Simd128,
            Isa::Portable,
        ] {
            let how = match available.contains(&isa) {
                false => "not tested: this processor lacks it",
                true if isa == Isa::Amx(Found(())) && amx::emulated() => {
                    "tested, its tiles emulated"
                }
                true => "tested",
            };
            println!("kernels on {}: {how}", isa.name());
        }
        assert!(available.contains(&Isa::Portable));
        // Each test of products in tiles multiplies with them wherever there is AVX-512.
        let linux = cfg!(all(target_arch = "x86_64", target_os = "linux"));
        let vectors = available.contains(&Isa::Avx512(Found(())));
        assert_eq!(available.contains(&Isa::Amx(Found(()))), linux && vectors);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn pairs_come_before_float32_only_where_they_are_fast() {
        let available = Isa::available();
        let place = |isa: Isa| available.iter().position(|set| *set == isa);
        if let Some(pairs) = place(Isa::Avx512Bf16(Found(()))) {
            assert_eq!(
                Some(pairs) < place(Isa::Avx512(Found(()))),
                pairs_are_fast()
            );
        }
    }
}
