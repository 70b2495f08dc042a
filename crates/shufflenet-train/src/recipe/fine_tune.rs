//! The section `[fine_tune]` of an experiment: which weights to start from, which parts to leave alone.
//!
//! [`crate::step::fine_tune`] applies it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a run starts from, and what it leaves alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FineTune {
    /// A run folder (its best checkpoint), a checkpoint folder, or one of its weight files. Of another
    /// number of classes it gives all but the classifier; colour weights fit a network for grey images.
    /// Unset: initial weights are drawn from `train.seed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Parameters to leave as they are, by their names in weight files, `*` for any characters:
    /// `["conv*", "stage*"]` is all but the classifier. A frozen batch norm keeps its statistics, too.
    pub freeze: Vec<String>,
}
