//! Tensor operations that ShuffleNetV2 is made of, without the network.
//!
//! Each operation is written once, in plain Burn, so that it runs and differentiates on every
//! backend; this is also where a backend may get a kernel of its own. What an operation computes
//! is fixed by its equation and its tests, not by how it is computed.

pub mod batch_norm;
#[cfg_attr(
    feature = "ndarray",
    expect(
        deprecated,
        reason = "Burn's older CPU backend is there for comparison"
    )
)]
pub mod depthwise;
#[expect(
    unsafe_code,
    reason = "vector instructions; every block says why it is sound"
)]
mod flex;
pub mod fused;
#[expect(unsafe_code, reason = "vector instructions, as above")]
pub mod inference;
pub mod orthogonal;
pub mod ranks;
#[cfg_attr(feature = "ndarray", expect(deprecated, reason = "as above"))]
mod ranks_sum;
pub mod shuffle;
#[expect(unsafe_code, reason = "the processor's floating-point mode")]
pub mod subnormals;
#[expect(
    unsafe_code,
    reason = "a loop's work outlives no loop, as it says there"
)]
mod team;

pub use batch_norm::{BatchNormTraining, batch_norm_train};
pub use depthwise::depthwise;
pub use flex::simd::Isa;
pub use orthogonal::orthogonal;
pub use shuffle::channel_shuffle;
