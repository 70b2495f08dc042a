//! What a configuration implies: the channels of every unit and the sizes of the maps. A configuration that
//! cannot work is refused here.
//!
//! The network is built from the same plans that are checked, so a configuration that passes can be built.
//! Stages are counted from 2 as in the paper's table 5, where the stem is stage 1.

use crate::config::{Layout, ModelConfig, halved};
use crate::error::ModelError;
use crate::squeeze_excitation::REDUCTION;

/// Larger values are typing errors and would exhaust memory. ImageNet-21k has 21,841 classes, and the
/// widest published network 2,048 channels.
const MOST_CHANNELS: usize = 4_096;
const MOST_CLASSES: usize = 1_000_000;
const MOST_WIDTH: usize = 8_192;
pub(crate) const MOST_REPEATS: usize = 64;
pub(crate) const MOST_STAGES: usize = 8;

/// The channels of a stage.
pub(crate) struct StagePlan {
    /// Channels into the stage's downsampling unit.
    pub inputs: usize,
    /// Channels out of each of the downsampling unit's two branches.
    pub branch: usize,
    /// The stage's stride-1 units.
    pub units: Vec<UnitPlan>,
}

/// The channels of a stride-1 unit.
pub(crate) struct UnitPlan {
    pub inputs: usize,
    pub outputs: usize,
    /// Input channels that the left branch passes on.
    pub left: usize,
    /// Whether the right branch's input is added to its output.
    pub residual: bool,
}

/// Number of channels of the left half of a unit with `inputs` channels.
pub(crate) fn split_channels(ratio: f64, inputs: usize) -> usize {
    (ratio * inputs as f64).round_ties_even() as usize
}

impl ModelConfig {
    /// Refuses a network that cannot be built, or that cannot take images of this size.
    ///
    /// # Errors
    /// Every [`ModelError`] except those of a training batch.
    pub fn validate(&self, height: usize, width: usize) -> Result<(), ModelError> {
        self.plan()?;
        self.feature_map(height, width).map(drop)
    }

    /// `[height, width]` of the map that the global average pooling sees. If it is 1x1 (32x32 images with
    /// the stems `imagenet` and `seed`), the pooling has a single value to average.
    ///
    /// # Errors
    /// [`ModelError::InputSize`] when the images are too small for the stem. The stages cannot fail: their
    /// windows are padded, and halve 1 to 1.
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

    /// Refuses a training batch that leaves a batch norm a single value per channel, which has no variance.
    /// Check every batch size that occurs, including a smaller last batch. Inference has no such limit.
    ///
    /// # Errors
    /// [`ModelError::TrainingBatch`], [`ModelError::SqueezedBatch`], and the [`ModelError::InputSize`] of
    /// [`Self::feature_map`].
    pub fn check_training_batch(
        &self,
        batch: usize,
        height: usize,
        width: usize,
    ) -> Result<(), ModelError> {
        // Maps only shrink, so the last convolution's batch norm sees the fewest values. The batch norm of
        // squeeze-and-excitation is the exception: it sees one value per image.
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

    /// Whether a map of the network, or a part of one that a unit splits off, has an odd number of channels.
    pub fn has_odd_widths(&self) -> bool {
        let widths = self.widths();
        let of_units = |plan: StagePlan| {
            let units = plan.units.into_iter();
            let units = units.flat_map(|unit| [unit.inputs, unit.outputs, unit.left]);
            units.chain([plan.inputs, plan.branch]).collect::<Vec<_>>()
        };
        let plans = self.plan().unwrap_or_default().into_iter();
        let all = plans.flat_map(of_units).chain([widths.stem, widths.last]);
        all.into_iter().any(|width| width % 2 == 1)
    }

    /// The channels of every stage.
    ///
    /// # Errors
    /// Errors are those of [`Self::validate`], except for the images' size.
    pub(crate) fn plan(&self) -> Result<Vec<StagePlan>, ModelError> {
        self.check_ranges()?;
        let widths = self.widths();
        let mut inputs = widths.stem;
        let mut plans = Vec::new();
        for (stage, (outputs, &repeats)) in (2..).zip(widths.stages.into_iter().zip(&self.repeats))
        {
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
        // Width after the downsampling unit, which concatenates its two branches: the stage's width, or
        // only twice the input's, in which case the first stride-1 unit widens.
        let branch = match self.layout {
            Layout::Standard => outputs / 2,
            Layout::Seed => inputs,
        };
        let mut width = 2 * branch;
        if repeats == 0 && width != outputs {
            return Err(ModelError::NoUnitToWiden {
                repeats: self.repeats.clone(),
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
        let left = split_channels(split_ratio, inputs);
        // The right branch takes the remaining inputs and gives the remaining outputs.
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

    /// Refuses single values that are out of range.
    fn check_ranges(&self) -> Result<(), ModelError> {
        let count = |key: &str, found, [least, most]: [usize; 2]| match found {
            found if (least..=most).contains(&found) => Ok(()),
            found => Err(ModelError::Count {
                key: key.into(),
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
        count("input_channels", self.input_channels(), [1, MOST_CHANNELS])?;
        count("classes", self.classes(), [1, MOST_CLASSES])?;
        let widths = self.widths();
        let stages = widths.stages.len();
        if stages != self.repeats.len() || stages > MOST_STAGES {
            return Err(ModelError::Stages {
                repeats: self.repeats.clone(),
                widths,
                stages,
            });
        }
        for (place, width) in Vec::from(widths).into_iter().enumerate() {
            count(&format!("widths[{place}]"), width, [1, MOST_WIDTH])?;
        }
        for (place, &repeats) in self.repeats.iter().enumerate() {
            count(&format!("repeats[{place}]"), repeats, [0, MOST_REPEATS])?;
        }
        let (split, dropout) = (self.split_ratio, self.dropout);
        let is_share = split > 0.0 && split < 1.0;
        number("split_ratio", split, is_share, "above 0 and below 1")?;
        let is_dropout = (0.0..1.0).contains(&dropout);
        number("dropout", dropout, is_dropout, "0 to below 1")
    }
}
