//! A trained network, from whatever a person calls it by: a run, a checkpoint, a weight file, an import.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::checkpoint::{self, AVERAGE, Checkpoint, WEIGHTS};
use crate::classifier::Classifier;
use crate::error::TrainError;
use crate::evaluate::{chosen, restore};
use crate::store::{self, Located};

/// Which of a checkpoint's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those that were trained.
    Raw,
    /// Their moving average.
    Ema,
}

/// A network ready to be used, and all that its checkpoint says of it.
pub struct Trained {
    /// The checkpoint's folder.
    pub folder: PathBuf,
    /// The weight file in it.
    pub weights: &'static str,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The network.
    pub classifier: Classifier,
}

/// The network that `path` stands for ([`store::locate`]), on `device`. Without `asked` it is by the weights
/// whose file `path` names, or else by those that `best` was chosen by.
///
/// # Errors
/// What the checkpoint refuses; [`TrainError::Checkpoint`] where it has no such weights.
pub fn open(path: &Path, asked: Option<Weights>, device: &Device) -> Result<Trained, TrainError> {
    let Located { folder, file } = store::locate(path)?;
    let checkpoint = checkpoint::load(&folder)?;
    let weights = match (asked, file) {
        (Some(Weights::Raw), _) => WEIGHTS,
        (Some(Weights::Ema), _) => AVERAGE,
        (None, Some(file)) => file,
        (None, None) => chosen(&checkpoint),
    };
    let classifier = restore(&checkpoint, weights, &folder, device)?;
    Ok(Trained {
        folder,
        weights,
        checkpoint,
        classifier,
    })
}
