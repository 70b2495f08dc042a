//! The parts of the network as operations of a Burn backend, each one node of the autodiff graph.
//!
//! Flex stores a tensor's values in the order of its strides. So a tensor can have the kernels' order, pixel by
//! pixel, and Burn's shape `[batch, channels, height, width]` without a copy.

#[cfg(feature = "gpu")]
pub(crate) mod cube;
pub(crate) mod extension;
mod flex;
#[cfg(all(feature = "gpu", feature = "fused"))]
mod fusion;
mod node;
pub(crate) mod operation;
#[cfg(feature = "gpu")]
pub(crate) mod outside;
mod storage;
