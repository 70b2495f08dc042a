//! The description of a checkpoint's weights: the file `classifier.json`.

use serde::{Deserialize, Serialize};
use shufflenet_data::Normalization;

use crate::experiment::Experiment;

/// The facts that a checkpoint's weights need to classify an image as in training, and where the weights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The experiment that trained the weights. Its `model` rebuilds the network.
    pub experiment: Experiment,
    /// SHA-256 of the data that the weights were trained and chosen on, see [`crate::data::sources::Sources::sha256`].
    pub data_sha256: String,
    /// Names of the classes, in the order of the logits.
    pub class_names: Vec<String>,
    /// Whether the names are only numbers, because an import had no names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unnamed: bool,
    /// The part of the data that chose the best epoch. `None`: no part did, or an earlier version trained the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_on: Option<ChosenOn>,
    /// SHA-256 of each teacher ([`crate::checkpoint::sha256`]). Empty: the run had none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teachers_sha256: Vec<String>,
    /// Channels, height and width of an input image.
    pub input: [usize; 3],
    /// Pixels are scaled to 0..1, then normalised by these.
    pub normalization: Normalization,
}

/// Name and `data.root` of the experiment that an import without a configuration gets. There is no such data.
pub(crate) const IMPORTED: [&str; 2] = ["imported", "data"];

impl Description {
    /// Refuses numbers that no run writes, in words. The file may come from others.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.experiment.train.batch_size == 0 {
            return Err("train.batch_size is 0; accepted: a whole number from 1".into());
        }
        let [channels, height, width] = self.input;
        let normalization = self.normalization.check(channels);
        normalization.map_err(|error| error.to_string())?;
        let model = self.experiment.model.validate(height, width);
        model.map_err(|error| error.to_string())
    }

    /// Whether the weights are from an import without data.
    pub(crate) fn has_no_data(&self) -> bool {
        let [name, root] = IMPORTED;
        let experiment = &self.experiment;
        self.data_sha256.is_empty()
            && experiment.name == name
            && experiment.data.root.as_os_str() == root
    }
}

/// The part of the data that chose the best epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChosenOn {
    /// `validation` or `test`.
    pub split: String,
    /// SHA-256 of the part of the data that its records are from.
    pub sha256: String,
}
