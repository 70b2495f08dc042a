//! Labelled images, from files on disk to batches for a training loop.
//!
//! [`open`] checks a data set and returns a [`Dataset`]: u8 pixels in memory, or encoded images that are
//! decoded when a batch needs them. [`holdout`] splits off a validation part. A [`Loader`] turns records
//! into [`Batch`]es of normalised f32 values. It optionally shuffles and augments the records and prepares
//! batches ahead in threads. Every random choice is a function of (seed, epoch, sample), see [`random`].
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use shufflenet_data::{
//!     Augmentation, Format, Loader, Options, Split, holdout, normalization_of, open,
//! };
//!
//! # fn main() -> Result<(), shufflenet_data::DataError> {
//! let (format, root) = (Format::named("cifar10")?, Path::new("data/cifar-10-batches-bin"));
//! let set = open(format, root, Split::Train, &Options::default())?;
//! let parts = holdout("validation", set.labels(), &set.class_names, 0.1, 0)?;
//! let normalization = normalization_of(&set, &parts.train)?;
//! let loader = Loader::new(Arc::new(set), parts.train, 256, normalization)
//!     .shuffled(0)
//!     .augmented(Augmentation { crop_padding: 4, flip: true, ..Augmentation::default() })
//!     .workers(1);
//! for batch in loader.epoch(0, 0) {
//!     let batch = batch?;
//!     println!("{} images of {}", batch.len(), batch.shape);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! This crate depends on no network and no tensor library: pixels are plain vectors in N x C x H x W order.

mod appearance;
pub mod augmentation;
mod batch;
mod checked;
mod cifar;
mod classes;
mod dataset;
mod encoded;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
mod folder;
mod format;
#[cfg(fuzzing)]
pub mod fuzzing;
mod holdout;
mod idx;
mod likeness;
mod listing;
mod loader;
mod manifest;
pub mod mosaic;
mod normalization;
mod options;
#[cfg(feature = "parquet")]
mod parquet;
mod paths;
mod png;
mod prefetch;
pub mod random;
mod shared;
pub mod survey;
mod synthetic;
pub mod text;
mod window;
pub mod words;

pub use appearance::Appearance;
pub use augmentation::Augmentation;
pub use batch::{Batch, Share};
pub use checked::{BadImage, Check, CheckResult, Checked, memory_of};
pub use classes::{ClassOrder, UnknownClasses, orders_differ};
pub use dataset::{Dataset, ImageShape};
pub use error::DataError;
pub use format::{Format, Split, open, parts};
pub use holdout::{Holdout, held_out, holdout};
pub use likeness::lookalikes;
pub use listing::{Listing, PassedOver, images_below};
pub use loader::Loader;
pub use normalization::{MOST_DECODED, normalization_of};
pub use options::{Labels, OnBadImage, Options, SyntheticOptions};
pub use paths::expand_home;
pub use png::png;
pub use prefetch::Batches;
pub use random::epoch_order;
pub use shared::{Shared, shared, under_two_labels};
pub use shufflenet_image::decode::{self, is_image_name};
pub use shufflenet_image::{Normalization, Preparation};

#[cfg(test)]
mod testing;
