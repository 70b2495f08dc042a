//! Tensor operations of ShuffleNetV2, without the network.
//!
//! Each operation is written in plain Burn operations ([`plain`]), which run and differentiate on every backend.
//! Where a backend has a kernel for an operation, [`fused`], [`orthogonal()`] and [`inference`] call the kernel
//! instead. Both ways compute the same equation, and the same tests check them.

mod backend;
mod clip;
mod cross_entropy;
pub mod flat;
#[cfg(feature = "gpu")]
pub mod frozen;
pub mod fused;
#[expect(
    unsafe_code,
    reason = "vector instructions; every block says why it is sound"
)]
pub mod inference;
#[expect(unsafe_code, reason = "vector instructions, as above")]
mod kernels;
pub mod orthogonal;
#[cfg_attr(
    feature = "ndarray",
    expect(
        deprecated,
        reason = "Burn's older CPU backend is there for comparison"
    )
)]
pub mod plain;
mod precision;
#[cfg_attr(feature = "ndarray", expect(deprecated, reason = "as above"))]
pub mod ranks;
#[expect(
    unsafe_code,
    reason = "a loop's work outlives no loop; memory of buffers; the floating-point mode"
)]
mod runtime;
#[expect(unsafe_code, reason = "vector instructions, as above")]
mod simd;
#[cfg(test)]
mod testing;
mod training;

pub use clip::clip_norm;
pub use cross_entropy::cross_entropy_gradient;
pub use orthogonal::orthogonal;
pub use plain::batch_norm::{BatchNormTraining, batch_norm_train};
pub use plain::channel_shuffle::channel_shuffle;
pub use plain::depthwise::depthwise;
pub use runtime::subnormals;
#[cfg(feature = "gpu")]
pub use shufflenet_gpu::traffic;
pub use simd::Isa;
