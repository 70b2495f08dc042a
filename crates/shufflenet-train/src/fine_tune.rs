//! Starting from a checkpoint, with parts of the network kept as they are.
//!
//! The section `[fine_tune]`. A resumed run reads its own checkpoint and not this one again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shufflenet_model::{ShuffleNetV2, load_for_fine_tuning, parameters};

use crate::error::TrainError;
use crate::evaluate::{chosen, weights_of};
use crate::optimizer::pattern;
use crate::{checkpoint, store};

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

impl FineTune {
    /// `network` with the weights to start from, and what is to be said about them.
    ///
    /// # Errors
    /// What the checkpoint refuses; [`TrainError::Weights`] where it does not fit.
    pub fn load(&self, network: ShuffleNetV2) -> Result<(ShuffleNetV2, Vec<String>), TrainError> {
        let Some(from) = &self.from else {
            return Ok((network, Vec::new()));
        };
        let located = store::locate(from)?;
        let checkpoint = checkpoint::load(&located.folder)?;
        let file = located.file.unwrap_or(chosen(&checkpoint));
        let bytes = weights_of(&checkpoint, file, &located.folder)?;
        let path = located.folder.join(file);
        let (network, adapted) = load_for_fine_tuning(network, bytes).map_err(|source| {
            let path = path.clone();
            TrainError::Weights { path, source }
        })?;
        let mut note = format!("start      from {}", path.display());
        for change in adapted {
            note += &format!("; {change}");
        }
        Ok((network, vec![note]))
    }

    /// `network` with the frozen parts left out of training.
    ///
    /// # Errors
    /// [`TrainError::Value`]: a pattern without a parameter, or nothing left to train.
    pub fn freeze(&self, network: ShuffleNetV2) -> Result<ShuffleNetV2, TrainError> {
        let names: Vec<String> = parameters(&network)
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        for pattern in &self.freeze {
            pattern::require_match("fine_tune.freeze", pattern, names.iter())?;
        }
        let is_frozen = |name: &str| self.freeze.iter().any(|p| pattern::matches(p, name));
        if names.iter().all(|name| is_frozen(name)) {
            return Err(TrainError::Value {
                key: "fine_tune.freeze".into(),
                found: format!("{:?}", self.freeze),
                accepted: "what leaves a parameter to train".into(),
            });
        }
        match self.freeze.is_empty() {
            true => Ok(network),
            false => Ok(network.freeze_parts(is_frozen)),
        }
    }
}
