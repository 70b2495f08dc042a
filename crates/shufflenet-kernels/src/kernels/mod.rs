//! CPU kernels. Each is a struct of its arguments with one checked entry, written once over
//! [`Simd`](crate::simd::Simd).
//!
//! Activations are stored pixel by pixel, `[batch, height, width, channels]`. No kernel depends on the network's
//! operations.

pub(crate) mod column_sums;
pub(crate) mod depthwise;
pub(crate) mod map;
pub(crate) mod matmul;
pub(crate) mod max_pool;
pub(crate) mod operand;
pub mod orthogonal;
pub(crate) mod packing;
pub(crate) mod pairs;
pub(crate) mod panels;
pub(crate) mod prefetch;
pub(crate) mod rows;
pub(crate) mod shuffle;
pub(crate) mod tiles;
pub(crate) mod windows;

#[cfg(test)]
mod tests;
