//! Checkpoints: complete or absent, checked before they are believed.
//!
//! A checkpoint is a folder `step-001234` that holds everything needed to go on or to classify:
//! the weights, the optimizer's state, where the run stood, and a description of the classifier. It is
//! written under another name, synced, and renamed into place as one; `manifest.json` lists every
//! file's size and SHA-256. `last` and `best` beside it are links, replaced by a rename too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shufflenet_data::Normalization;

use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::tally::Tally;

/// Version of the layout written here. A newer one is refused, every older one is read.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const PROGRESS: &str = "progress.json";
const DESCRIPTION: &str = "classifier.json";

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Epochs finished, their evaluation included.
    pub epochs: usize,
    /// Steps taken within the epoch under way.
    pub batch: usize,
    /// Optimizer steps taken in all.
    pub step: usize,
    /// Training loss and accuracy of the epoch under way.
    pub tally: Tally,
    /// The best epoch so far.
    pub best: Option<Best>,
    /// Bytes of `metrics.jsonl` that belong to the steps taken.
    pub metrics_bytes: u64,
}

/// The best epoch so far: highest top-1 on the evaluation set, the earlier one of equals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Its top-1 accuracy, 0 to 1.
    pub top1: f64,
    /// Epoch, from 1.
    pub epoch: usize,
    /// Optimizer steps taken then.
    pub step: usize,
}

/// What one needs besides the weights to classify an image as in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The experiment that trained it; its `model` rebuilds the network.
    pub experiment: Experiment,
    /// Names of the classes, in the order of the logits.
    pub class_names: Vec<String>,
    /// Channels, height and width of an input image.
    pub input: [usize; 3],
    /// Pixels are scaled to 0..1, then normalised by these.
    pub normalization: Normalization,
}

/// The content of a checkpoint.
pub struct Checkpoint {
    /// Weights, a safetensors file.
    pub weights: Vec<u8>,
    /// Optimizer state, a safetensors file.
    pub optimizer: Vec<u8>,
    /// Where the run stands.
    pub progress: Progress,
    /// What the weights are.
    pub description: Description,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    files: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// Writes `checkpoint` into the folder `root` and points `last` at it. Returns its folder's name.
///
/// # Errors
/// [`TrainError::Io`]; then nothing that was there before has changed.
pub fn save(root: &Path, checkpoint: &Checkpoint) -> Result<String, TrainError> {
    let step = checkpoint.progress.step;
    let name = free_name(root, step);
    let partial = root.join(format!(".{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|e| TrainError::io("remove", &partial, e))?;
    }
    fs::create_dir_all(&partial).map_err(|e| TrainError::io("create", &partial, e))?;
    let files = [
        (WEIGHTS, checkpoint.weights.clone()),
        (OPTIMIZER, checkpoint.optimizer.clone()),
        (PROGRESS, to_json("progress", &checkpoint.progress)?),
        (DESCRIPTION, to_json("classifier", &checkpoint.description)?),
    ];
    let mut manifest = Manifest {
        format: FORMAT,
        files: BTreeMap::new(),
    };
    for (file, bytes) in &files {
        write_synced(&partial.join(file), bytes)?;
        manifest.files.insert((*file).into(), entry(bytes));
    }
    write_synced(&partial.join(MANIFEST), &to_json("manifest", &manifest)?)?;
    sync_folder(&partial)?;
    let place = root.join(&name);
    fs::rename(&partial, &place).map_err(|e| TrainError::io("rename", &partial, e))?;
    sync_folder(root)?;
    link(root, "last", &name)?;
    Ok(name)
}

/// `step-001234`, or with a number behind where one of this step is there already (an interrupted
/// epoch and its evaluation end on the same step).
fn free_name(root: &Path, step: usize) -> String {
    let plain = format!("step-{step:06}");
    let mut name = plain.clone();
    let mut number = 2;
    while root.join(&name).exists() {
        name = format!("{plain}-{number}");
        number += 1;
    }
    name
}

/// Points the link `root/link` at the checkpoint `name` beside it.
///
/// # Errors
/// [`TrainError::Io`].
pub fn link(root: &Path, link: &str, name: &str) -> Result<(), TrainError> {
    let fresh = root.join(format!(".{link}.partial"));
    // A link left by a kill between the two calls below.
    let _ = fs::remove_file(&fresh);
    symlink(name, &fresh).map_err(|e| TrainError::io("create", &fresh, e))?;
    fs::rename(&fresh, root.join(link)).map_err(|e| TrainError::io("rename", &fresh, e))?;
    sync_folder(root)
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &str, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_dir(target, link)
}

/// Reads the checkpoint in `folder`, checking every file against the manifest.
///
/// # Errors
/// [`TrainError::Checkpoint`]: none there, of a newer format, or damaged, with the file.
pub fn load(folder: &Path) -> Result<Checkpoint, TrainError> {
    let manifest: Manifest = match fs::read(folder.join(MANIFEST)) {
        Ok(bytes) => from_json(folder, MANIFEST, &bytes)?,
        Err(_) if folder.is_dir() => {
            return Err(TrainError::checkpoint(
                folder,
                "is no checkpoint: it has no manifest.json",
            ));
        }
        Err(error) => return Err(TrainError::io("read", &folder.join(MANIFEST), error)),
    };
    if manifest.format > FORMAT {
        let message = format!(
            "has format {}, this version reads up to {FORMAT}: use a newer shufflenet",
            manifest.format
        );
        return Err(TrainError::checkpoint(folder, message));
    }
    let mut files = BTreeMap::new();
    for (name, expected) in &manifest.files {
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(|e| TrainError::io("read", &path, e))?;
        let found = entry(&bytes);
        if found.bytes != expected.bytes {
            let message = format!("damaged: {} bytes, not {}", found.bytes, expected.bytes);
            return Err(TrainError::checkpoint(&path, message));
        }
        if found.sha256 != expected.sha256 {
            let message = "damaged: its SHA-256 is not the manifest's";
            return Err(TrainError::checkpoint(&path, message));
        }
        files.insert(name.clone(), bytes);
    }
    let mut take = |name: &str| {
        files
            .remove(name)
            .ok_or_else(|| TrainError::checkpoint(folder, format!("its manifest lacks {name}")))
    };
    Ok(Checkpoint {
        weights: take(WEIGHTS)?,
        optimizer: take(OPTIMIZER)?,
        progress: from_json(folder, PROGRESS, &take(PROGRESS)?)?,
        description: from_json(folder, DESCRIPTION, &take(DESCRIPTION)?)?,
    })
}

/// The folder that `path` stands for: a run folder's best checkpoint (its last where there is no
/// best), a checkpoint's own folder, or the folder around a weight file.
///
/// # Errors
/// [`TrainError::Checkpoint`]: `path` is none of these.
pub fn locate(path: &Path) -> Result<PathBuf, TrainError> {
    if path.is_dir() {
        let candidates = [path.into(), best(path), path.join("checkpoints/last")];
        let found = candidates
            .into_iter()
            .find(|folder: &PathBuf| folder.join(MANIFEST).is_file());
        return found.ok_or_else(|| {
            let message = "is neither a checkpoint nor a run folder with one \
                           (expected manifest.json or checkpoints/best in it)";
            TrainError::checkpoint(path, message)
        });
    }
    if !path.exists() {
        return Err(TrainError::checkpoint(path, "does not exist"));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let is_weights = path.file_name().is_some_and(|name| name == WEIGHTS);
    if is_weights && folder.join(MANIFEST).is_file() {
        return Ok(folder.into());
    }
    let message =
        format!("is no checkpoint: expected a run folder, a checkpoint folder, or its {WEIGHTS}");
    Err(TrainError::checkpoint(path, message))
}

/// Where a run folder keeps its best checkpoint.
pub fn best(run: &Path) -> PathBuf {
    run.join("checkpoints/best")
}

/// The newest intact checkpoint in `root`, and what is wrong with those passed over. `None` where
/// there is none at all.
///
/// # Errors
/// The newest one's, where every one is damaged.
pub fn newest(root: &Path) -> Result<Option<(Checkpoint, Vec<TrainError>)>, TrainError> {
    let mut candidates = folders(root);
    candidates.reverse();
    // `last` is the newest by definition; the names only order what lies behind it.
    if let Ok(last) = fs::read_link(root.join("last")) {
        candidates.retain(|name| Path::new(name) != last);
        candidates.insert(0, last.to_string_lossy().into_owned());
    }
    let mut damaged = Vec::new();
    for name in candidates {
        match load(&root.join(name)) {
            Ok(checkpoint) => return Ok(Some((checkpoint, damaged))),
            Err(error) => damaged.push(error),
        }
    }
    match damaged.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// Deletes all but the newest `keep` checkpoints and those that `last` and `best` point at.
pub fn prune(root: &Path, keep: usize) {
    let linked = ["last", "best"].map(|link| fs::read_link(root.join(link)).ok());
    let names = folders(root);
    let old = names.len().saturating_sub(keep);
    for name in names.iter().take(old) {
        if !linked
            .iter()
            .flatten()
            .any(|target| target == Path::new(name))
        {
            // A failure leaves a folder too many, which the next call takes.
            let _ = fs::remove_dir_all(root.join(name));
        }
    }
}

/// Names of the checkpoints in `root`, oldest first.
fn folders(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("step-"))
        .collect();
    // `step-000100-2` lies behind `step-000100`, both before `step-1000000`.
    names.sort_by_key(|name| {
        let numbers = name.split('-').skip(1);
        numbers
            .map(|n| n.parse::<u64>().unwrap_or(0))
            .collect::<Vec<_>>()
    });
    names
}

fn entry(bytes: &[u8]) -> Entry {
    let digest = Sha256::digest(bytes);
    Entry {
        bytes: bytes.len() as u64,
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

pub(crate) fn to_json(what: &'static str, value: &impl Serialize) -> Result<Vec<u8>, TrainError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| TrainError::Encode {
        what,
        message: error.to_string(),
    })?;
    text.push(b'\n');
    Ok(text)
}

fn from_json<T: for<'de> Deserialize<'de>>(
    folder: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<T, TrainError> {
    serde_json::from_slice(bytes)
        .map_err(|error| TrainError::checkpoint(&folder.join(name), format!("damaged: {error}")))
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| TrainError::io("write", path, e))
}

/// Makes renames within a folder durable.
fn sync_folder(folder: &Path) -> Result<(), TrainError> {
    #[cfg(unix)]
    File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(|e| TrainError::io("sync", folder, e))?;
    Ok(())
}
