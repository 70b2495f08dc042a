//! What the network refuses, in words that name the setting, what was found and what is accepted.

use crate::config::Stem;

/// A network that cannot be built, or a batch that it cannot be trained on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// A width that the paper's table does not have.
    #[error("scale {0} is not in the table: 0.5, 1.0, 1.5, 2.0")]
    Scale(f64),
    /// Input channels or classes outside the accepted range.
    #[error("{key} = {found}: 1 to {most} is accepted")]
    Count {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: usize,
        /// The largest value accepted.
        most: usize,
    },
    /// Images that vanish in the stem.
    #[error(
        "images of {height}x{width} are too small for the stem \"{stem}\", which takes \
         {least}x{least} and larger"
    )]
    InputSize {
        /// Height of the images.
        height: usize,
        /// Width of the images.
        width: usize,
        /// The stem.
        stem: Stem,
        /// The smallest height and width that the stem takes.
        least: usize,
    },
    /// Batch norm has no variance to train on.
    #[error(
        "a training batch of {batch} at {height}x{width} leaves batch norm {values} value per \
         channel ({batch} x {map_height}x{map_width}) and it needs 2 or more: take a larger batch, \
         larger images or the stem \"cifar\", or drop the ragged last batch"
    )]
    TrainingBatch {
        /// Images in the batch.
        batch: usize,
        /// Height of the images.
        height: usize,
        /// Width of the images.
        width: usize,
        /// Height of the final map.
        map_height: usize,
        /// Width of the final map.
        map_width: usize,
        /// Values per channel in the final map.
        values: usize,
    },
}
