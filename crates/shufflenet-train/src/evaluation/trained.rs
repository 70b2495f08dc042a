//! Opens a trained network that the user names by a run, a checkpoint, a weight file or an import.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use shufflenet_model::{ShuffleNetV2, load_safetensors};

use crate::checkpoint::store::{self, Located};
use crate::checkpoint::{self, AVERAGE, Checkpoint, WEIGHTS};
use crate::error::TrainError;
use crate::step::classifier::Classifier;

/// One of the two sets of weights of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// The trained weights.
    Raw,
    /// The moving average of the trained weights.
    Ema,
}

/// A network ready to classify, with its checkpoint.
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

/// A checkpoint that the user names, not yet a network.
pub struct Found {
    /// The checkpoint's folder.
    pub folder: PathBuf,
    /// The weight file in it.
    pub weights: &'static str,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
}

impl Found {
    /// Path of the weight file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(self.weights)
    }

    /// Bytes of the weight file.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] where the checkpoint has no such file.
    pub fn bytes(&self) -> Result<&[u8], TrainError> {
        weights_of(&self.checkpoint, self.weights, &self.folder)
    }
}

/// The checkpoint at `path` ([`store::locate`]), with the weights `asked`. `None`: the weight file that `path` names,
/// or else the weights that `best` was chosen by.
///
/// # Errors
/// Errors of the checkpoint.
pub fn find(path: &Path, asked: Option<Weights>) -> Result<Found, TrainError> {
    let Located { folder, file } = store::locate(path)?;
    let checkpoint = checkpoint::load(&folder)?;
    let weights = match (asked, file) {
        (Some(Weights::Raw), _) => WEIGHTS,
        (Some(Weights::Ema), _) => AVERAGE,
        (None, Some(file)) => file,
        (None, None) => chosen(&checkpoint),
    };
    Ok(Found {
        folder,
        weights,
        checkpoint,
    })
}

/// The network at `path`, on `device`; `path` and `asked` as for [`find`].
///
/// # Errors
/// Errors of the checkpoint; [`TrainError::Checkpoint`] where it has no such weights.
pub fn open(path: &Path, asked: Option<Weights>, device: &Device) -> Result<Trained, TrainError> {
    let Found {
        folder,
        weights,
        checkpoint,
    } = find(path, asked)?;
    let classifier = restore(&checkpoint, weights, &folder, device)?;
    Ok(Trained {
        folder,
        weights,
        checkpoint,
        classifier,
    })
}

/// The weight file that classifies: the moving average if there is one, because it chooses `best`.
pub fn chosen(checkpoint: &Checkpoint) -> &'static str {
    match checkpoint.average {
        Some(_) => AVERAGE,
        None => WEIGHTS,
    }
}

/// Bytes of a weight file of the checkpoint in `folder`.
///
/// # Errors
/// [`TrainError::Checkpoint`] where it has no such file.
pub fn weights_of<'a>(
    checkpoint: &'a Checkpoint,
    weights: &str,
    folder: &Path,
) -> Result<&'a [u8], TrainError> {
    let bytes = match weights {
        AVERAGE => checkpoint.average.as_deref(),
        _ => Some(&checkpoint.weights[..]),
    };
    bytes.ok_or_else(|| {
        let message = "has no moving average of the weights; accepted: --weights raw";
        TrainError::checkpoint(folder, message)
    })
}

/// The network of a checkpoint with one of its weight files, on `device`, ready to classify.
///
/// # Errors
/// [`TrainError::Weights`], [`TrainError::Model`]; [`TrainError::Checkpoint`] where it has no such file.
pub fn restore(
    checkpoint: &Checkpoint,
    weights: &str,
    folder: &Path,
    device: &Device,
) -> Result<Classifier, TrainError> {
    let bytes = weights_of(checkpoint, weights, folder)?;
    let path = folder.join(weights);
    let model = &checkpoint.description.experiment.model;
    let network = ShuffleNetV2::new(model, 0, device)?;
    let network =
        load_safetensors(network, bytes).map_err(|source| TrainError::Weights { path, source })?;
    Ok(Classifier { network })
}
