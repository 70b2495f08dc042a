//! What the network refuses, in words that name the setting, what was found and what is accepted.

use crate::config::{Stem, Widths};
use crate::squeeze_excitation::REDUCTION;

/// A network that cannot be built, or a batch that it cannot be trained on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// A width that the paper's table does not have.
    #[error("scale {0} is not in the table: 0.5, 1.0, 1.5, 2.0")]
    Scale(f64),
    /// Channels, classes, widths or repeats outside the accepted range.
    #[error("{key} = {found}: {least} to {most} is accepted")]
    Count {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: usize,
        /// The smallest value accepted.
        least: usize,
        /// The largest value accepted.
        most: usize,
    },
    /// A share outside the accepted range, or not a number.
    #[error("{key} = {found}: {accepted} is accepted")]
    Number {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: f64,
        /// The accepted range, in words.
        accepted: &'static str,
    },
    /// A stage whose channels cannot be dealt to two groups.
    #[error(
        "widths = {widths:?}: two groups cannot share the {outputs} channels of a stage, and the \
         shuffle deals them to two; an even width is accepted"
    )]
    OddWidth {
        /// All widths.
        widths: Widths,
        /// The odd one.
        outputs: usize,
    },
    /// A stride-1 unit with nothing in one of its branches.
    #[error(
        "split_ratio = {split_ratio}: {left} of the {inputs} channels of a stage {stage} unit in its \
         left branch, and {outputs} out of both, leaves a branch empty; 1 to {most} on the left is \
         accepted"
    )]
    EmptyBranch {
        /// The setting.
        split_ratio: f64,
        /// The stage, from 2 as in the paper.
        stage: usize,
        /// Channels into the unit.
        inputs: usize,
        /// Channels out of it.
        outputs: usize,
        /// Channels that the setting sends to the left.
        left: usize,
        /// The most that leaves the right branch some.
        most: usize,
    },
    /// A stage of the seed layout that nothing brings to its width.
    #[error(
        "repeats = {repeats:?}: the downsampling unit of stage {stage} gives {width} channels in the \
         seed layout, and without a unit behind it nothing brings them to {outputs}; 1 or more is \
         accepted there"
    )]
    NoUnitToWiden {
        /// All repeats.
        repeats: [usize; 3],
        /// The stage, from 2 as in the paper.
        stage: usize,
        /// Twice its inputs.
        width: usize,
        /// Its width.
        outputs: usize,
    },
    /// Squeeze-and-excitation on a branch of fewer channels than it divides them by.
    #[error(
        "squeeze_excitation = true: a right branch of stage {stage} has {narrowest} channels, of \
         which the reduction by {REDUCTION} leaves none; {REDUCTION} or more is accepted"
    )]
    TooNarrowToSqueeze {
        /// The stage, from 2 as in the paper.
        stage: usize,
        /// Channels of its narrowest right branch.
        narrowest: usize,
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
    /// Squeeze-and-excitation's batch norm, which sees one value per image, has no variance to train
    /// on.
    #[error(
        "a training batch of {batch} leaves the batch norm of squeeze-and-excitation {batch} value \
         per channel and it needs 2 or more: take a larger batch, or drop the ragged last batch"
    )]
    SqueezedBatch {
        /// Images in the batch.
        batch: usize,
    },
}
