//! The section `[fine_tune]` of an experiment: the weights to start from, and the parameters to freeze.
//!
//! [`crate::step::fine_tune`] applies it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shufflenet_data::ClassOrder;

/// Weights that a run starts from, and parameters that it does not change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FineTune {
    /// A run folder (its best checkpoint), a checkpoint folder, or one of its weight files. Where its classes are the
    /// data's, by name and in any order, the classifier is kept; otherwise a new classifier is initialised. Colour weights
    /// fit a network for grey images.
    /// Unset: initial weights are drawn from `train.seed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Parameters that do not change, by their names in weight files, `*` for any characters:
    /// `["conv*", "stage*"]` is all but the classifier. A frozen batch norm also keeps its statistics.
    pub freeze: Vec<String>,
    /// Whether to accept weights of a network with another `model.stem`. Its layers saw features at another spatial scale.
    pub other_stem: bool,
    /// Weights without class names, of as many classes as the data: the order of their outputs among classes that are
    /// whole numbers, `bytes` (1, 10, 2) or `value` (1, 2, 10). Unset: refused where the two differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_order: Option<ClassOrder>,
}
