//! Labelled images from files on disk to batches for a training loop.
//!
//! [`open`] reads a set whole into memory, checks it and gives a [`Dataset`] of u8 pixels;
//! [`holdout`] splits off a validation part; a [`Loader`] turns records into [`Batch`]es of
//! normalised f32, shuffled and augmented where that is asked for, prepared ahead by threads or not.
//! Every random choice is a function of (seed, epoch, sample), see [`random`].
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use shufflenet_data::{Augmentation, Format, Loader, Normalization, Split, holdout, open};
//!
//! # fn main() -> Result<(), shufflenet_data::DataError> {
//! let set = open(Format::Cifar10, Path::new("data/cifar-10-batches-bin"), Split::Train)?;
//! let parts = holdout(set.labels(), set.classes(), 0.1, 0)?;
//! let normalization = Normalization::of(&set, &parts.train);
//! let loader = Loader::new(Arc::new(set), parts.train, 256, normalization)
//!     .shuffled(0)
//!     .augmented(Augmentation { crop_padding: 4, flip: true })
//!     .workers(1);
//! for batch in loader.epoch(0, 0) {
//!     let batch = batch?;
//!     println!("{} images of {}", batch.len(), batch.shape);
//! }
//! # Ok(())
//! # }
//! ```
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
mod prefetch;
pub mod random;

pub use augmentation::Augmentation;
pub use dataset::{Dataset, ImageShape};
pub use error::DataError;
pub use format::{Format, Split, open};
pub use holdout::{Holdout, holdout};
pub use loader::{Batch, Loader};
pub use normalization::Normalization;
pub use prefetch::Batches;
pub use random::epoch_order;

#[cfg(test)]
mod testing;
