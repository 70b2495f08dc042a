//! One checkpoint: a folder with everything that is needed to continue the run or to classify.
//!
//! It has the weights, their moving average if the run keeps one, the optimizer's state, the progress of the run and a
//! description of the network. `manifest.json` lists the size and SHA-256 of every file, and a file that differs is
//! refused. [`crate::checkpoint::store`] keeps the checkpoints of a run.

pub mod description;
mod repair;
pub mod store;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::description::Description;
use crate::error::TrainError;
use crate::evaluation::tally::Tally;
use crate::files::{hex, to_json, write_synced};
use crate::refusals;

/// Version of the format that is written. Newer formats are refused, and all older formats are read.
const FORMAT: u32 = 1;
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const AVERAGE: &str = "ema.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const PROGRESS: &str = "progress.json";
const DESCRIPTION: &str = "classifier.json";

/// Progress of a run, always between two optimizer steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Epochs finished, their evaluation included.
    pub epochs: usize,
    /// Batches taken in the current epoch: `train.accumulate` per step.
    pub batch: usize,
    /// Total number of optimizer steps taken.
    pub step: usize,
    /// Training loss and accuracy of the current epoch.
    pub tally: Tally,
    /// The step last evaluated.
    pub evaluated: usize,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Whether the run came to its end, the test set included.
    pub finished: bool,
    /// Bytes of `metrics.jsonl` that belong to the steps taken.
    pub metrics_bytes: u64,
}

impl Progress {
    /// Whether the current weights are the best so far.
    pub fn is_best(&self) -> bool {
        let best = self.best.as_ref().map(|best| best.step);
        self.evaluated == self.step && best == Some(self.step)
    }
}

/// The best evaluation so far by `checkpoint.best_by`. Of equal evaluations the one of lower loss counts, then the earlier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// The value of `checkpoint.best_by`. Early checkpoints call it `top1`, the only criterion that they knew.
    #[serde(alias = "top1")]
    pub value: f64,
    /// Mean cross-entropy, in nats. `None`: an earlier version wrote the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Epoch, from 1.
    pub epoch: usize,
    /// Optimizer steps taken then.
    pub step: usize,
}

/// The content of a checkpoint.
pub struct Checkpoint {
    /// Weights, a safetensors file.
    pub weights: Vec<u8>,
    /// Their moving average, a safetensors file, if the run keeps one.
    pub average: Option<Vec<u8>>,
    /// Optimizer state, a safetensors file.
    pub optimizer: Vec<u8>,
    /// Progress of the run.
    pub progress: Progress,
    /// Description of the network.
    pub description: Description,
}

/// The part of a manifest that every format has, newer ones included.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    files: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// Writes `checkpoint` into the empty folder `folder`, the manifest last. Everything is on disk when this returns.
///
/// # Errors
/// [`TrainError::Io`].
pub fn write(folder: &Path, checkpoint: &Checkpoint) -> Result<(), TrainError> {
    let progress = to_json("progress", &checkpoint.progress)?;
    let description = to_json("classifier", &checkpoint.description)?;
    let average = checkpoint.average.as_deref();
    let files = [
        (WEIGHTS, Some(&checkpoint.weights[..])),
        (AVERAGE, average),
        (OPTIMIZER, Some(&checkpoint.optimizer)),
        (PROGRESS, Some(&progress)),
        (DESCRIPTION, Some(&description)),
    ];
    let mut manifest = Manifest {
        format: FORMAT,
        files: BTreeMap::new(),
    };
    for (name, bytes) in files {
        let Some(bytes) = bytes else { continue };
        write_synced(&folder.join(name), bytes)?;
        manifest.files.insert(name.into(), entry(bytes));
    }
    write_synced(&folder.join(MANIFEST), &to_json("manifest", &manifest)?)
}

/// Reads the checkpoint in `folder`, checking every file against the manifest.
///
/// # Errors
/// [`TrainError::Checkpoint`]: there is none, or a file is damaged; [`TrainError::NewerFormat`];
/// [`TrainError::Io`].
pub fn load(folder: &Path) -> Result<Checkpoint, TrainError> {
    let manifest = match fs::read(folder.join(MANIFEST)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound && folder.is_dir() => {
            let message = "is not a checkpoint: it has no manifest.json";
            return Err(TrainError::checkpoint(folder, message));
        }
        Err(error) => return Err(TrainError::io("read", &folder.join(MANIFEST), error)),
    };
    let Version { format } = from_json(folder, MANIFEST, &manifest)?;
    if format > FORMAT {
        return Err(TrainError::NewerFormat {
            path: folder.into(),
            found: format,
            readable: FORMAT,
        });
    }
    let manifest: Manifest = from_json(folder, MANIFEST, &manifest)?;
    if format == 0 {
        let message = "damaged: there is no format 0";
        return Err(TrainError::checkpoint(&folder.join(MANIFEST), message));
    }
    let mut files = BTreeMap::new();
    for (name, expected) in &manifest.files {
        let path = folder.join(name);
        if Path::new(name).file_name() != Some(name.as_ref()) {
            // A manifest may come from others.
            let message = format!("damaged: `{name}` is not a file of the folder");
            return Err(TrainError::checkpoint(&folder.join(MANIFEST), message));
        }
        let length = fs::metadata(&path).map_err(|e| TrainError::io("read", &path, e))?;
        if length.len() != expected.bytes || !length.is_file() {
            let message = format!("damaged: {} bytes, not {}", length.len(), expected.bytes);
            return Err(TrainError::checkpoint(&path, message));
        }
        let bytes = fs::read(&path).map_err(|e| TrainError::io("read", &path, e))?;
        let found = entry(&bytes);
        if found.sha256 != expected.sha256 {
            let message = "damaged: its SHA-256 is not the manifest's";
            return Err(TrainError::checkpoint(&path, message));
        }
        files.insert(name.clone(), bytes);
    }
    let average = files.remove(AVERAGE);
    let mut take = |name: &str| {
        files
            .remove(name)
            .ok_or_else(|| TrainError::checkpoint(folder, format!("its manifest lacks {name}")))
    };
    let description: Description = from_json(folder, DESCRIPTION, &take(DESCRIPTION)?)?;
    description
        .check()
        .map_err(|words| TrainError::checkpoint(&folder.join(DESCRIPTION), words))?;
    Ok(Checkpoint {
        weights: take(WEIGHTS)?,
        average,
        optimizer: take(OPTIMIZER)?,
        progress: from_json(folder, PROGRESS, &take(PROGRESS)?)?,
        description,
    })
}

/// The description in the checkpoint `folder` alone, unchecked. `None`: there is none that can be read.
pub fn description(folder: &Path) -> Option<Description> {
    let bytes = fs::read(folder.join(DESCRIPTION)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The progress in the checkpoint `folder` alone, unchecked. `None`: there is none that can be read.
pub fn progress(folder: &Path) -> Option<Progress> {
    let bytes = fs::read(folder.join(PROGRESS)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// SHA-256 of `weights` and of the description's file in the checkpoint `folder`. These two decide the network's result
/// for an image.
///
/// # Errors
/// [`TrainError::Io`].
pub fn sha256(folder: &Path, weights: &[u8]) -> Result<String, TrainError> {
    let path = folder.join(DESCRIPTION);
    let description = fs::read(&path).map_err(|e| TrainError::io("read", &path, e))?;
    let digest = Sha256::new().chain_update(weights);
    Ok(hex(&digest.chain_update(description).finalize()))
}

fn entry(bytes: &[u8]) -> Entry {
    Entry {
        bytes: bytes.len() as u64,
        sha256: hex(&Sha256::digest(bytes)),
    }
}

fn from_json<T: for<'de> Deserialize<'de>>(
    folder: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<T, TrainError> {
    refusals::from_json(bytes)
        .map_err(|words| TrainError::checkpoint(&folder.join(name), format!("damaged: {words}")))
}
