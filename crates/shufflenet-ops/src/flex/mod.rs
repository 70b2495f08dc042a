//! Kernels for Flex, Burn's CPU backend: the units of the network in float32.
//!
//! Tensors are stored pixel by pixel here (`[batch, height, width, channels]`), which a Flex tensor's
//! strides can say while its shape stays `[batch, channels, height, width]`: nothing outside notices.

mod branch;
mod column_sums;
pub(crate) mod depthwise;
mod depthwise_pass;
pub(crate) mod extension;
mod geometry;
mod head;
mod join;
pub(crate) mod map;
pub(crate) mod matmul;
mod moments;
mod norm;
mod operation;
pub(crate) mod orthogonal;
mod pointwise;
pub(crate) mod pool;
pub(crate) mod pooling;
mod rows;
mod separate;
mod shuffle;
pub(crate) mod simd;
#[cfg(target_arch = "x86_64")]
mod simd_x86;
mod stem;
mod stem_backward;
mod unit;
pub(crate) mod weights;
mod windows;
