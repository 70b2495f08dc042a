//! What a checkpoint's weights are: the file `classifier.json`.

use serde::{Deserialize, Serialize};
use shufflenet_data::Normalization;

use crate::experiment::Experiment;

/// What one needs besides the weights to classify an image as in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The experiment that trained it; its `model` rebuilds the network.
    pub experiment: Experiment,
    /// SHA-256 of the data that it was trained and chosen on, see [`crate::data::sources::Sources::sha256`].
    pub data_sha256: String,
    /// Names of the classes, in the order of the logits.
    pub class_names: Vec<String>,
    /// Whether the names are only numbers, because an import was given none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unnamed: bool,
    /// The part of the data that chose the best epoch. `None`: none did, or an earlier version trained it.
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

impl Description {
    /// What to say if these weights have learned from images that the run `now` holds out: both have the same data, divided in
    /// different ways.
    pub fn has_seen(&self, now: &Self) -> Option<&'static str> {
        let division = |of: &Self| {
            (
                of.experiment.data.validation,
                of.experiment.validation_seed(),
            )
        };
        let seen = now.experiment.data.validation > 0.0
            && self.data_sha256 == now.data_sha256
            && division(self) != division(now);
        seen.then_some(
            "it was trained on images that this run holds out, so the held-out figures are too good; the same \
             data.validation and data.validation_seed hold out the same images",
        )
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
