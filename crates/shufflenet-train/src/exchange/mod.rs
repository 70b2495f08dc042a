//! Networks of other programs, and for them: weights in; weights, ONNX, whole networks and a page out.

mod card;
pub mod export;
pub mod import;
#[cfg(feature = "fetch")]
pub mod pretrained;
pub mod shipped;
pub mod web;
