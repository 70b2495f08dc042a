//! The parts of ShuffleNetV2 as GPU kernels: forward and backward of stem, units and head, and the forward in inference.
//!
//! The kernels are in CubeCL, which compiles them for wgpu, CUDA and ROCm at run time. Maps are stored pixel by pixel
//! (`[pixels, channels]`, a pixel being one place of one image). Each kernel is one pass over the batch: it applies the
//! batch norm and ReLU of its input while it reads, and gathers the sums that the next batch norm needs while it
//! writes.
//!
//! No kernel uses atomic operations or subgroups. A launch has a number of workgroups that follows from the shapes
//! alone, each writes its own row of partial sums (`parts.rs`), and these rows are added in order. So two runs on one
//! device give the same bits.
//!
//! Limits, those that every WebGPU device keeps: 8 buffers a kernel, 16 KiB of shared memory, 256 threads a workgroup.
#![cfg(feature = "kernels")]

/// Most buffers of a kernel.
pub const MOST_BUFFERS: u32 = 8;

/// Most bytes of shared memory of a workgroup.
pub const MOST_SHARED_MEMORY: usize = 16 * 1024;

/// Most threads of a workgroup.
pub const MOST_THREADS: usize = 256;

pub mod arena;
pub mod branch;
mod branch_end;
pub mod buffer;
pub mod cast;
pub mod clip;
pub mod conv_norm;
pub mod cross_entropy;
pub mod depthwise;
pub mod depthwise_gradient;
pub mod flat;
pub mod gradient_sums;
pub mod head;
pub mod join;
pub mod max_pool;
pub mod moments;
pub mod norm;
pub mod norms;
mod parts;
pub mod pointwise;
pub mod pointwise_backward;
mod pointwise_gradient;
pub mod product;
pub mod relu_gradient;
pub mod separate;
pub mod stem;
pub mod stem_gradient;
pub mod stored;
mod tile;
pub mod traffic;
pub mod unit;
mod vector;
mod weight_gradient;
