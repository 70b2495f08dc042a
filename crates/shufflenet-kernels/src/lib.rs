//! CPU kernels of ShuffleNetV2 in training and in inference, without a tensor library.
//!
//! Everything here takes and returns slices and [`Buffer`]s. [`training`] has the network's parts forward and
//! backward, [`inference`] a whole network with folded weights, [`orthogonal`] what the optimizer Muon computes. All
//! are chains of kernels (`kernels`), written once for every instruction set ([`Isa`]). `shufflenet-ops` makes tensor
//! operations of them. This crate builds in seconds, so it is also what runs on other processors in tests.

#[expect(
    unsafe_code,
    reason = "vector instructions; every block says why it is sound"
)]
pub mod inference;
#[expect(unsafe_code, reason = "vector instructions, as above")]
mod kernels;
mod precision;
pub mod ranks;
#[expect(
    unsafe_code,
    reason = "a loop's work outlives no loop; memory of buffers; the floating-point mode"
)]
mod runtime;
#[expect(unsafe_code, reason = "vector instructions, as above")]
mod simd;
pub mod testing;
pub mod training;

pub use kernels::orthogonal;
pub use kernels::packing::ConvNorm;
pub use kernels::rows::Rows;
pub use precision::Precision;
pub use runtime::buffer::Buffer;
pub use runtime::subnormals;
pub use simd::Isa;
pub use simd::stored::Stored;
