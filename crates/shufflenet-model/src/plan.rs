//! What a configuration implies: the channels of every unit, the sizes of the maps. And what is
//! refused, because nothing works that it implies.
//!
//! The network is built from the same plans that the checks go through, so a configuration
//! that passes can be built. Stages are counted as in the paper's table 5, from 2: the stem is 1.

use crate::config::{Layout, ModelConfig, halved};
use crate::error::ModelError;
use crate::squeeze_excitation::REDUCTION;

/// More than these is a slip of the keyboard, and would only exhaust memory. ImageNet-21k has 21,841
/// classes, and the widest published network 2,048 channels.
const MOST_CHANNELS: usize = 4_096;
const MOST_CLASSES: usize = 1_000_000;
const MOST_WIDTH: usize = 8_192;
pub(crate) const MOST_REPEATS: usize = 64;

/// The channels of a stage.
pub(crate) struct StagePlan {
    /// Into its downsampling unit.
    pub inputs: usize,
    /// Out of each of that unit's two branches.
    pub branch: usize,
    /// Its stride-1 units.
    pub units: Vec<UnitPlan>,
}

/// The channels of a stride-1 unit.
pub(crate) struct UnitPlan {
    pub inputs: usize,
    pub outputs: usize,
    /// Those that its left branch passes on.
    pub left: usize,
    /// Whether its right branch's input is added to its output.
    pub residual: bool,
}

impl ModelConfig {
    /// Refuses a network that cannot be built, or not for images of this size.
    ///
    /// # Errors
    /// Every [`ModelError`] but those of a training batch.
    pub fn validate(&self, height: usize, width: usize) -> Result<(), ModelError> {
        self.plan()?;
        self.feature_map(height, width).map(drop)
    }

    /// `[height, width]` of the map that the global average pooling sees. Where that is 1x1 (32x32
    /// images on the stems `imagenet` and `seed`), there is little left to pool.
    ///
    /// # Errors
    /// [`ModelError::InputSize`] when the images vanish in the stem. Nothing can vanish behind it:
    /// the stages' windows are padded, and halve 1 to 1.
    pub fn feature_map(&self, height: usize, width: usize) -> Result<[usize; 2], ModelError> {
        let stem = self.stem();
        let least = stem.smallest_input();
        if height < least || width < least {
            return Err(ModelError::InputSize {
                height,
                width,
                stem,
                least,
            });
        }
        let stages = self.repeats.len();
        Ok([height, width].map(|size| (0..stages).fold(stem.output(size), |size, _| halved(size))))
    }

    /// Refuses a training batch that leaves some batch norm a single value per channel, whose
    /// variance does not exist. To be asked for every batch size that occurs, a ragged last batch
    /// included; inference has no such limit.
    ///
    /// # Errors
    /// [`ModelError::TrainingBatch`], [`ModelError::SqueezedBatch`], and [`ModelError::InputSize`]
    /// as [`Self::feature_map`].
    pub fn check_training_batch(
        &self,
        batch: usize,
        height: usize,
        width: usize,
    ) -> Result<(), ModelError> {
        // Maps only shrink: the last convolution's batch norm sees the fewest values, but for
        // squeeze-and-excitation's, which sees one per image.
        let [map_height, map_width] = self.feature_map(height, width)?;
        let values = batch.saturating_mul(map_height).saturating_mul(map_width);
        if values < 2 {
            return Err(ModelError::TrainingBatch {
                batch,
                height,
                width,
                map_height,
                map_width,
                values,
            });
        }
        if self.squeeze_excitation && batch < 2 {
            return Err(ModelError::SqueezedBatch { batch });
        }
        Ok(())
    }

    /// The channels of every stage.
    ///
    /// # Errors
    /// As [`Self::validate`], but for the images' size.
    pub(crate) fn plan(&self) -> Result<Vec<StagePlan>, ModelError> {
        self.check_ranges()?;
        let [mut inputs, stages @ .., _last] = self.widths();
        let mut plans = Vec::new();
        for (stage, (outputs, repeats)) in (2..).zip(stages.into_iter().zip(self.repeats)) {
            plans.push(self.plan_stage(stage, [inputs, outputs], repeats)?);
            inputs = outputs;
        }
        Ok(plans)
    }

    fn plan_stage(
        &self,
        stage: usize,
        [inputs, outputs]: [usize; 2],
        repeats: usize,
    ) -> Result<StagePlan, ModelError> {
        let widths = self.widths();
        if !outputs.is_multiple_of(2) {
            return Err(ModelError::OddWidth { widths, outputs });
        }
        // What the downsampling unit's two branches give together: the stage's width, or only
        // twice the input's, which then leaves the widening to the first stride-1 unit.
        let branch = match self.layout {
            Layout::Standard => outputs / 2,
            Layout::Seed => inputs,
        };
        let mut width = 2 * branch;
        if repeats == 0 && width != outputs {
            return Err(ModelError::NoUnitToWiden {
                repeats: self.repeats,
                stage,
                width,
                outputs,
            });
        }
        let mut units = Vec::new();
        for _ in 0..repeats {
            units.push(self.plan_unit(stage, [width, outputs])?);
            width = outputs;
        }
        if self.squeeze_excitation {
            let right = units.iter().map(|unit| unit.outputs - unit.left);
            let narrowest = right.fold(branch, usize::min);
            if narrowest < REDUCTION {
                return Err(ModelError::TooNarrowToSqueeze { stage, narrowest });
            }
        }
        Ok(StagePlan {
            inputs,
            branch,
            units,
        })
    }

    fn plan_unit(
        &self,
        stage: usize,
        [inputs, outputs]: [usize; 2],
    ) -> Result<UnitPlan, ModelError> {
        let split_ratio = self.split_ratio;
        let left = (split_ratio * inputs as f64).round_ties_even() as usize;
        // The right branch takes what is left of the inputs and gives what is left of the outputs.
        let most = inputs.min(outputs) - 1;
        if !(1..=most).contains(&left) {
            return Err(ModelError::EmptyBranch {
                split_ratio,
                stage,
                inputs,
                outputs,
                left,
                most,
            });
        }
        Ok(UnitPlan {
            inputs,
            outputs,
            left,
            residual: self.residual() && inputs == outputs,
        })
    }

    /// Refuses what makes no sense by itself.
    fn check_ranges(&self) -> Result<(), ModelError> {
        let count = |key, found, [least, most]: [usize; 2]| match found {
            found if (least..=most).contains(&found) => Ok(()),
            found => Err(ModelError::Count {
                key,
                found,
                least,
                most,
            }),
        };
        let number = |key, found, holds, accepted| match holds {
            true => Ok(()),
            false => Err(ModelError::Number {
                key,
                found,
                accepted,
            }),
        };
        count("input_channels", self.input_channels, [1, MOST_CHANNELS])?;
        count("classes", self.classes, [1, MOST_CLASSES])?;
        for (key, width) in WIDTH_KEYS.into_iter().zip(self.widths()) {
            count(key, width, [1, MOST_WIDTH])?;
        }
        for (key, repeats) in REPEATS_KEYS.into_iter().zip(self.repeats) {
            count(key, repeats, [0, MOST_REPEATS])?;
        }
        let (split, dropout) = (self.split_ratio, self.dropout);
        let is_share = split > 0.0 && split < 1.0;
        number("split_ratio", split, is_share, "above 0 and below 1")?;
        let is_dropout = (0.0..1.0).contains(&dropout);
        number("dropout", dropout, is_dropout, "0 to below 1")
    }
}

const WIDTH_KEYS: [&str; 5] = [
    "widths[0]",
    "widths[1]",
    "widths[2]",
    "widths[3]",
    "widths[4]",
];
const REPEATS_KEYS: [&str; 3] = ["repeats[0]", "repeats[1]", "repeats[2]"];
