//! Operations in plain Burn tensors, for every backend. Tests compare the kernels with them.

pub mod batch_norm;
pub mod channel_shuffle;
pub mod depthwise;
pub(crate) mod orthogonal;
