//! What kernels run on: threads that share a loop, reused buffers, and the floating-point mode.

pub(crate) mod buffer;
pub mod subnormals;
pub(crate) mod team;
