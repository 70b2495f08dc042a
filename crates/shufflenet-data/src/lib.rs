//! Labelled images from files on disk to batches for a training loop.
//!
//! [`open`] reads a set whole into memory, checks it and gives a [`Dataset`] of u8 pixels;
//! [`holdout`] splits off a validation part; a [`Loader`] turns records into [`Batch`]es of
//! normalised f32, shuffled and augmented where that is asked for. Every random choice is a function
//! of (seed, epoch, sample), see [`random`].
//!
//! Nothing here knows a network or a tensor library: pixels are plain vectors, in N x C x H x W.

mod augmentation;
mod cifar10;
mod dataset;
mod error;
mod format;
mod holdout;
mod idx;
mod loader;
mod normalization;
pub mod random;

pub use augmentation::Augmentation;
pub use dataset::{Dataset, ImageShape};
pub use error::DataError;
pub use format::{Format, Split, open};
pub use holdout::{Holdout, holdout};
pub use loader::{Batch, Loader};
pub use normalization::Normalization;
pub use random::epoch_order;

#[cfg(test)]
mod testing;
