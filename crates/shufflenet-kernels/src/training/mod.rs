//! Forward and backward of the network's parts in training: stem, units and head, each a chain of kernels.
//!
//! Every part keeps the convolutions' outputs. The backward recomputes the normalisation and the ReLU masks from
//! them. Activations are rows of pixels, `[batch, height, width, channels]`.

mod branch;
mod depthwise;
mod element;
mod geometry;
mod head;
mod join;
mod join_backward;
mod moments;
mod norm;
mod pointwise;
mod product;
pub mod stem;
mod stem_backward;
mod unit;
mod weights;

pub use branch::Branch;
pub use element::Element;
pub use geometry::Geometry;
pub use norm::Norm;
pub use pointwise::{ConvNormGradient, Normed};
pub use stem::Stem;
pub use unit::{Unit, UnitSaved};
