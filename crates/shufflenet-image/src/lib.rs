//! One image for a network: decoded, cropped, resized and normalised.
//!
//! Training, `predict` and the page in a browser prepare images with this code, so all see the same pixels. The crate
//! knows no data sets, threads or random numbers, and compiles to WebAssembly.

pub mod decode;
#[cfg(fuzzing)]
pub mod fuzzing;
mod normalization;
mod prepare;
mod view;

pub use normalization::Normalization;
pub use prepare::{MOST_SIDE, Preparation};
pub use view::{Window, cut};

/// A value that cannot work, in one line: what was found and what is accepted.
#[derive(Debug, thiserror::Error)]
#[error("{what} is {found}; accepted: {expected}")]
pub struct ValueError {
    /// Name of the value.
    pub what: String,
    /// The value that was found.
    pub found: String,
    /// What is accepted.
    pub expected: String,
}

impl ValueError {
    /// Creates the error from its parts.
    pub fn new(
        what: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}
