//! The matrix products of a 1x1 convolution, a block of rows at a time, in one of three ways, a file each.
//!
//! - **Vectors**: operands in float32. What is stored as bfloat16 is widened a block at a time, and the gradient of the
//!   convolution's output is never rounded.
//! - **Pairs**, for bfloat16 on processors with AVX512-BF16: operands in pairs of bfloat16 ([`crate::kernels::pairs`]), sums
//!   in float32. The weights and the gradient of the output are rounded, once per product.
//! - **Tiles**, for bfloat16 on processors with AMX: operands in bfloat16, sums in float32. The weights and the gradient
//!   of the output are rounded, once per product.
//!
//! A thread makes a [`Forward`] or a [`Backward`] for its part of the batch, which holds its scratch.

mod pairs;
mod tiles;
mod vectors;

use crate::kernels::rows::{NormGradient, Rows};
use crate::runtime::buffer::Buffer;
use crate::simd::Isa;
use crate::simd::stored::Stored;
use crate::training::weights::Weights;

/// The products `x W'` of a thread.
pub enum Forward<'a> {
    Vectors(vectors::Forward<'a>),
    Pairs(pairs::Forward<'a>),
    Tiles(tiles::Forward<'a>),
}

impl<'a> Forward<'a> {
    /// Scratch for blocks of at most `rows` rows of a convolution with `sizes`, its inputs and outputs. `weights` are
    /// packed by [`Weights::forward`].
    pub fn new<T: Stored>(isa: Isa, weights: &'a Weights, rows: usize, sizes: [usize; 2]) -> Self {
        match weights {
            Weights::Vectors(weight) => {
                Self::Vectors(vectors::Forward::new::<T>(isa, weight, rows, sizes))
            }
            Weights::Pairs(weight) => Self::Pairs(pairs::Forward::new(isa, weight, sizes)),
            Weights::Tiles(weight) => Self::Tiles(tiles::Forward::new(isa, weight, rows, sizes)),
        }
    }

    /// Computes the product of `rows` rows, and prefetches what comes after them.
    pub fn block<T: Stored>(&mut self, rows: usize, x: Rows<T>, out: &mut [T]) {
        match self {
            Self::Vectors(products) => products.block(rows, x, out),
            Self::Pairs(products) => products.block(rows, x, out),
            Self::Tiles(products) => products.block(rows, x, out),
        }
    }
}

/// A block of rows in the backward: the input, the output, the gradient of the output's batch norm, and that norm's
/// backward (see [`NormGradient`]).
pub struct BackwardBlock<'a, T> {
    pub rows: usize,
    pub x: Rows<'a, T>,
    pub y: Rows<'a, T>,
    pub g: Rows<'a, T>,
    pub mean: &'a [f32],
    pub factors: [&'a [f32]; 3],
}

impl<T: Stored> BackwardBlock<'_, T> {
    /// Computes `dy`, the gradient of the convolution's output, in rows of whole vectors.
    fn output_gradient<U: Stored>(&self, isa: Isa, outputs: usize, dy: &mut [U]) {
        isa.run(NormGradient {
            rows: self.rows,
            columns: outputs,
            g: self.g,
            y: self.y,
            mean: self.mean,
            factors: self.factors,
            out: dy,
            out_stride: isa.padded(outputs),
        });
    }
}

/// Where an input gradient goes: the channels of a convolution's input in the rows of a wider gradient.
pub struct Destination<'a, T> {
    pub data: &'a mut [T],
    /// Values from one row to the next.
    pub stride: usize,
    /// Whether to add to the rows instead of overwriting them.
    pub accumulate: bool,
}

/// The products `dx = dy W` and `x' dy` of a thread.
pub enum Backward<'a> {
    Vectors(vectors::Backward<'a>),
    Pairs(pairs::Backward<'a>),
    Tiles(tiles::Backward<'a>),
}

impl<'a> Backward<'a> {
    /// Scratch for blocks of at most `rows` rows of a convolution with `sizes`, its inputs and outputs. `weights` are
    /// packed by [`Weights::input_gradient`].
    pub fn new<T: Stored>(isa: Isa, weights: &'a Weights, rows: usize, sizes: [usize; 2]) -> Self {
        match weights {
            Weights::Vectors(weight) => {
                Self::Vectors(vectors::Backward::new::<T>(isa, weight, rows, sizes))
            }
            Weights::Pairs(weight) => Self::Pairs(pairs::Backward::new(isa, weight, rows, sizes)),
            Weights::Tiles(weight) => Self::Tiles(tiles::Backward::new(isa, weight, rows, sizes)),
        }
    }

    /// Computes a block's input gradient, and adds its part of the weight's gradient.
    pub fn block<T: Stored>(&mut self, from: &BackwardBlock<T>, dx: Destination<T>) {
        match self {
            Self::Vectors(products) => products.block(from, dx),
            Self::Pairs(products) => products.block(from, dx),
            Self::Tiles(products) => products.block(from, dx),
        }
    }

    /// The weight's gradient, `[inputs][outputs]` with rows padded to whole vectors.
    pub fn into_weight_gradient(self) -> Buffer {
        match self {
            Self::Vectors(products) => products.into_weight_gradient(),
            Self::Pairs(products) => products.into_weight_gradient(),
            Self::Tiles(products) => products.into_weight_gradient(),
        }
    }
}

#[cfg(test)]
mod tests;
