//! Forward and backward of the network's parts in training: stem, units and head, each a chain of kernels.
//!
//! [`crate::fused`] documents what each part computes. Every part keeps the convolutions' outputs. The backward
//! recomputes the normalisation and the ReLU masks from them.

pub(crate) mod branch;
pub(crate) mod depthwise;
pub(crate) mod geometry;
pub(crate) mod head;
pub(crate) mod join;
pub(crate) mod join_backward;
pub(crate) mod moments;
pub(crate) mod norm;
pub(crate) mod pointwise;
pub(crate) mod product;
pub(crate) mod stem;
pub(crate) mod stem_backward;
pub(crate) mod unit;
pub(crate) mod weights;
