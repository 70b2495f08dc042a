//! What the matrix products multiply: a float32, or two terms of a sum in bfloat16, either in 32 bits.

use half::bf16;

use crate::simd::Simd;
use crate::simd::stored::Stored;

/// An operand of a product, 32 bits.
pub(crate) trait Operand: Copy {
    /// Terms of a sum in an operand.
    const TERMS: usize;
    /// What a term is stored as.
    type Term: Stored;

    /// `x` as a term.
    fn term(x: f32) -> Self::Term;

    /// The operand's bits as those of a float32.
    fn bits(self) -> u32;

    /// `a * b + c`
    fn multiply_add<S: Simd>(s: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector;
}

impl Operand for f32 {
    const TERMS: usize = 1;
    type Term = f32;

    fn term(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        self.to_bits()
    }

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        s.mul_add(a, b, c)
    }
}

/// Two terms of a sum that follow each other.
pub(crate) type Pair = [bf16; 2];

impl Operand for Pair {
    const TERMS: usize = 2;
    type Term = bf16;

    fn term(x: f32) -> bf16 {
        bf16::from_f32(x)
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        u32::from(self[0].to_bits()) | u32::from(self[1].to_bits()) << 16
    }

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        s.add_dot(a, b, c)
    }
}
