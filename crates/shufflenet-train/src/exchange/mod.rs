//! Networks of other programs: weights in, weights and ONNX out.

pub mod export;
pub mod import;
#[cfg(feature = "fetch")]
pub mod pretrained;
