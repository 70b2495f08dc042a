//! Vectors of float32 and the choice of instruction set, made once at run time.
//!
//! A kernel is a struct of its arguments that implements [`Kernel`]: its body is written once, over
//! the operations of [`Simd`], and [`Isa::run`] compiles it three times: for AVX-512, for AVX2 with
//! FMA, and portably for every other processor. Users need no compiler flags. The environment
//! variable `SHUFFLENET_ISA` (`avx512`, `avx2`, `portable`) forces a narrower set than the processor
//! has, for tests and comparisons. Different sets add in different orders, and so may differ in the
//! last bits; one set always gives the same bits.

use std::sync::OnceLock;

/// Operations on one vector of float32. A value of an implementing type is proof that the processor
/// has the instructions: it is only made by [`Isa::run`].
pub(crate) trait Simd: Copy {
    /// Floats in a vector.
    const LANES: usize;
    /// Vectors that can be held at once by a matrix product's tile, from its widest shape (in
    /// vectors) down: rows of the tile for 4, 3, 2 and 1 vectors; 0 where that shape does not fit.
    const TILE_ROWS: [usize; 4];
    /// A vector.
    type Vector: Copy;

    /// The same number in every lane.
    fn splat(self, x: f32) -> Self::Vector;
    /// # Safety
    /// `p` points at [`Self::LANES`] readable floats.
    unsafe fn load(self, p: *const f32) -> Self::Vector;
    /// The first `n` floats, zeros behind them; all of them for `n >= LANES`.
    ///
    /// # Safety
    /// `p` points at `min(n, LANES)` readable floats.
    unsafe fn load_first(self, p: *const f32, n: usize) -> Self::Vector;
    /// # Safety
    /// `p` points at [`Self::LANES`] writable floats.
    unsafe fn store(self, p: *mut f32, v: Self::Vector);
    /// Stores the first `n` lanes; all of them for `n >= LANES`.
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
    /// Asks for the cache line at `p` before it is needed. Any address will do.
    fn prefetch(self, p: *const f32);
    /// As [`Self::prefetch`], to the second-level cache.
    fn prefetch_far(self, p: *const f32);
}

/// A computation written over [`Simd`]. `run` and all that it calls per vector must be
/// `#[inline(always)]`, so that it is compiled with the instruction set's features.
pub(crate) trait Kernel {
    fn run<S: Simd>(self, simd: S);
}

/// The environment variable that forces a set.
const VARIABLE: &str = "SHUFFLENET_ISA";

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Sixteen lanes: AVX-512F.
    Avx512,
    /// Eight lanes: AVX2 and FMA.
    Avx2,
    /// Eight lanes in plain Rust, which the compiler turns into what the target has.
    Portable,
}

impl Isa {
    /// The widest set that this processor has, or the one of them that `SHUFFLENET_ISA` names; what
    /// it names otherwise is passed over, see [`Self::asked_for`]. Chosen once.
    pub fn detected() -> Self {
        static CHOICE: OnceLock<Isa> = OnceLock::new();
        *CHOICE.get_or_init(|| match Self::asked_for() {
            Ok(Some(isa)) => isa,
            Ok(None) | Err(_) => {
                let widest = Self::available().into_iter().next();
                widest.unwrap_or(Self::Portable)
            }
        })
    }

    /// The set that `SHUFFLENET_ISA` names, where it names one.
    ///
    /// # Errors
    /// The variable's value, where no set of this processor has that name.
    pub fn asked_for() -> Result<Option<Self>, String> {
        let wanted = match std::env::var_os(VARIABLE) {
            Some(wanted) if !wanted.is_empty() => wanted.to_string_lossy().into_owned(),
            _ => return Ok(None),
        };
        let mut available = Self::available().into_iter();
        let found = available.find(|isa| isa.name() == wanted);
        found.map(Some).ok_or(wanted)
    }

    /// Every set that this processor has, widest first.
    pub fn available() -> Vec<Self> {
        let mut sets = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.insert(0, Self::Avx2);
                if is_x86_feature_detected!("avx512f") {
                    sets.insert(0, Self::Avx512);
                }
            }
        }
        sets
    }

    /// As in `SHUFFLENET_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Floats in a vector of this set. Scratch rows are padded to a multiple of it.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::Avx2 | Self::Portable => 8,
        }
    }

    /// [`Simd::TILE_ROWS`] of this set.
    pub(crate) const fn tile_rows(self) -> [usize; 4] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => super::simd_x86::Avx512::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => super::simd_x86::Avx2::TILE_ROWS,
            _ => Portable::TILE_ROWS,
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
            use super::simd_x86::{Avx2, Avx512, run_avx2, run_avx512};
            match self {
                // SAFETY: both are only made by `available`, which asked the processor.
                Self::Avx512 => return unsafe { run_avx512(kernel, Avx512(())) },
                // SAFETY: as above.
                Self::Avx2 => return unsafe { run_avx2(kernel, Avx2(())) },
                Self::Portable => {}
            }
        }
        kernel.run(Portable);
    }
}

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
        // SAFETY: the caller's promise; arrays of floats need no more alignment than floats.
        unsafe { *p.cast() }
    }

    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> Self::Vector {
        // SAFETY: only the first `n` are read, as the caller promises.
        lanewise(|lane| {
            if lane < n {
                unsafe { *p.add(lane) }
            } else {
                0.0
            }
        })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::Vector) {
        // SAFETY: the caller's promise.
        unsafe { *p.cast() = v };
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize, v: Self::Vector) {
        for (lane, x) in v.into_iter().enumerate().take(n) {
            // SAFETY: only the first `n` are written, as the caller promises.
            unsafe { *p.add(lane) = x };
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
    fn prefetch(self, _p: *const f32) {}

    #[inline(always)]
    fn prefetch_far(self, _p: *const f32) {}
}
