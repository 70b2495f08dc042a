//! Tensor operations of ShuffleNetV2, without the network.
//!
//! Each operation is written in plain Burn operations ([`plain`]), which run and differentiate on every backend.
//! Where a backend has a kernel for an operation, [`fused`], [`orthogonal()`] and [`inference`] call the kernel
//! instead: of `shufflenet-kernels` on the CPU, of `shufflenet-gpu` on a GPU. Both ways compute the same equation, and
//! the same tests check them.

#[expect(unsafe_code, reason = "memory of tensors")]
mod backend;
mod clip;
mod cross_entropy;
pub mod flat;
#[cfg(feature = "gpu")]
pub mod frozen;
pub mod fused;
pub mod orthogonal;
#[cfg_attr(
    feature = "ndarray",
    expect(
        deprecated,
        reason = "Burn's older CPU backend is there for comparison"
    )
)]
pub mod plain;
#[cfg_attr(feature = "ndarray", expect(deprecated, reason = "as above"))]
mod sum_over_ranks;

pub use clip::clip_norm;
pub use cross_entropy::cross_entropy_gradient;
pub use orthogonal::orthogonal;
pub use plain::batch_norm::{BatchNormTraining, batch_norm_train};
pub use plain::channel_shuffle::channel_shuffle;
pub use plain::depthwise::depthwise;
#[cfg(feature = "gpu")]
pub use shufflenet_gpu::traffic;
pub use shufflenet_kernels::{Isa, inference, ranks, subnormals};
