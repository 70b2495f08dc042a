//! Errors of a network's configuration. Each message names the setting, the value found and the values
//! accepted.

use crate::config::{Stem, Widths};
use crate::plan::MOST_STAGES;
use crate::squeeze_excitation::REDUCTION;

/// A network that cannot be built, or a batch that it cannot be trained on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// A width multiplier that the paper's table does not have.
    #[error("scale is {0}; accepted: 0.5, 1.0, 1.5, 2.0")]
    Scale(f64),
    /// A list of widths without a stage.
    #[error(
        "widths = {0:?}: the stem, 1 or more stages and the last convolution are accepted, 3 or more numbers"
    )]
    TooFewWidths(Vec<usize>),
    /// More or fewer repeats than stages, or too many stages.
    #[error(
        "repeats = {repeats:?}: widths = {widths:?} has {stages} stages between the stem and the last \
         convolution; as many repeats are accepted, and up to {MOST_STAGES} stages"
    )]
    Stages {
        /// All repeats.
        repeats: Vec<usize>,
        /// All widths.
        widths: Widths,
        /// Number of stages that `widths` has.
        stages: usize,
    },
    /// Channels, classes, widths or repeats outside the accepted range.
    #[error("{key} = {found}: {least} to {most} is accepted")]
    Count {
        /// Name of the setting.
        key: String,
        /// The value of the setting.
        found: usize,
        /// The smallest value accepted.
        least: usize,
        /// The largest value accepted.
        most: usize,
    },
    /// A share outside the accepted range, or NaN.
    #[error("{key} = {found}: {accepted} is accepted")]
    Number {
        /// Name of the setting.
        key: &'static str,
        /// The value of the setting.
        found: f64,
        /// The accepted range, in words.
        accepted: &'static str,
    },
    /// A stage with an odd number of channels, which the shuffle cannot split into two groups.
    #[error(
        "widths = {widths:?}: the two groups of the shuffle cannot share the {outputs} channels of a \
         stage; an even width is accepted"
    )]
    OddWidth {
        /// All widths.
        widths: Widths,
        /// The odd width.
        outputs: usize,
    },
    /// A stride-1 unit with an empty branch.
    #[error(
        "split_ratio = {split_ratio}: in a stage {stage} unit of {inputs} inputs and {outputs} outputs, \
         a left branch of {left} channels leaves a branch empty; 1 to {most} is accepted"
    )]
    EmptyBranch {
        /// The value of `split_ratio`.
        split_ratio: f64,
        /// The stage, counted from 2 as in the paper.
        stage: usize,
        /// Channels into the unit.
        inputs: usize,
        /// Channels out of the unit.
        outputs: usize,
        /// Channels that `split_ratio` gives to the left branch.
        left: usize,
        /// The largest number of left channels that leaves the right branch at least one.
        most: usize,
    },
    /// A stage of the seed layout that has no unit to widen it.
    #[error(
        "repeats = {repeats:?}: the downsampling unit of stage {stage} gives {width} channels in the \
         seed layout, and without a stride-1 unit after it nothing widens them to {outputs}; 1 or \
         more is accepted there"
    )]
    NoUnitToWiden {
        /// All repeats.
        repeats: Vec<usize>,
        /// The stage, counted from 2 as in the paper.
        stage: usize,
        /// Channels out of the downsampling unit: twice its input channels.
        width: usize,
        /// The stage's width.
        outputs: usize,
    },
    /// Squeeze-and-excitation on a branch with fewer channels than the reduction factor.
    #[error(
        "squeeze_excitation = true: a right branch of stage {stage} has {narrowest} channels, of \
         which the reduction by {REDUCTION} leaves none; {REDUCTION} or more is accepted"
    )]
    TooNarrowToSqueeze {
        /// The stage, counted from 2 as in the paper.
        stage: usize,
        /// Channels of the stage's narrowest right branch.
        narrowest: usize,
    },
    /// Images that are too small for the stem.
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
    /// A training batch that leaves batch norm without a variance.
    #[error(
        "a training batch of {batch} at {height}x{width} leaves batch norm {values} value per \
         channel ({batch} x {map_height}x{map_width}) and it needs 2 or more: take a larger batch, \
         larger images or the stem \"cifar\", or drop the smaller last batch"
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
    /// A training batch that leaves the batch norm of squeeze-and-excitation, which sees one value per
    /// image, without a variance.
    #[error(
        "a training batch of {batch} leaves the batch norm of squeeze-and-excitation {batch} value \
         per channel and it needs 2 or more: take a larger batch, or drop the smaller last batch"
    )]
    SqueezedBatch {
        /// Images in the batch.
        batch: usize,
    },
}
