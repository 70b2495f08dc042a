//! Networks of other programs, and for them: weights in, weights, ONNX and whole networks out.

mod card;
pub mod export;
pub mod import;
#[cfg(feature = "fetch")]
pub mod pretrained;
pub mod shipped;
