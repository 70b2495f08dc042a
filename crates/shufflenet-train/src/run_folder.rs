//! The folder of a run: made once, locked while in use, never overwritten unasked.
//!
//! ```text
//! runs/NAME/config.toml  environment.json  metrics.jsonl  checkpoints/
//! ```

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::checkpoint::{to_json, write_synced};
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::machine::Environment;
use crate::settings;

/// What to do with a run folder that holds a run already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse: nothing is overwritten unasked.
    #[default]
    Refuse,
    /// Continue the run (`--resume`).
    Resume,
    /// Delete what the run wrote, and start anew (`--force`).
    Replace,
}

/// A run folder, locked until this is dropped.
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

const CONFIG: &str = "config.toml";
const LOCK: &str = ".lock";

impl RunFolder {
    /// Makes or takes over the folder `path` for `experiment`, and locks it.
    ///
    /// # Errors
    /// [`TrainError::RunExists`], [`TrainError::NotARun`], [`TrainError::RunLocked`],
    /// [`TrainError::Changed`] (a resume that would change the experiment), [`TrainError::Io`].
    pub fn open(
        path: &Path,
        experiment: &Experiment,
        existing: Existing,
    ) -> Result<Self, TrainError> {
        let config = path.join(CONFIG);
        let is_run = config.is_file();
        if !is_run && !is_vacant(path) {
            return Err(TrainError::NotARun(path.into()));
        }
        if is_run && existing == Existing::Refuse {
            return Err(TrainError::RunExists(path.into()));
        }
        if is_run && existing == Existing::Resume {
            check_same(path, &settings::load(&config, &[])?, experiment)?;
        }
        fs::create_dir_all(path).map_err(|e| TrainError::io("create", path, e))?;
        let lock = lock(path)?;
        if is_run && existing == Existing::Replace {
            clear(path)?;
        }
        let folder = Self {
            path: path.into(),
            _lock: lock,
        };
        let checkpoints = folder.checkpoints();
        fs::create_dir_all(&checkpoints).map_err(|e| TrainError::io("create", &checkpoints, e))?;
        write_synced(&config, settings::to_toml(experiment)?.as_bytes())?;
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Its metrics.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Records where and how the run was last started.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn record(&self, environment: &Environment) -> Result<(), TrainError> {
        let bytes = to_json("environment", environment)?;
        write_synced(&self.path.join("environment.json"), &bytes)
    }
}

fn is_vacant(path: &Path) -> bool {
    match fs::read_dir(path) {
        // A lock alone is what a run leaves that stopped before it began.
        Ok(mut entries) => entries.all(|e| e.is_ok_and(|e| e.file_name() == LOCK)),
        Err(_) => !path.exists(),
    }
}

/// A lock of the operating system's on a file of its own: a kill frees it.
fn lock(path: &Path) -> Result<File, TrainError> {
    let file = path.join(LOCK);
    let handle = File::create(&file).map_err(|e| TrainError::io("create", &file, e))?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(TryLockError::WouldBlock) => Err(TrainError::RunLocked(path.into())),
        Err(TryLockError::Error(e)) => Err(TrainError::io("lock", &file, e)),
    }
}

/// Deletes what a run wrote and nothing else.
fn clear(path: &Path) -> Result<(), TrainError> {
    let checkpoints = path.join("checkpoints");
    if checkpoints.exists() {
        fs::remove_dir_all(&checkpoints).map_err(|e| TrainError::io("remove", &checkpoints, e))?;
    }
    let metrics = path.join("metrics.jsonl");
    if metrics.exists() {
        fs::remove_file(&metrics).map_err(|e| TrainError::io("remove", &metrics, e))?;
    }
    Ok(())
}

/// Keys that may differ between a run and its resumption: they change how long it trains, where the
/// data lies, what is kept; not what is computed at a step already taken.
const MAY_CHANGE: [&str; 5] = [
    "name",
    "data.root",
    "train.epochs",
    "train.log_every",
    "checkpoint",
];

fn check_same(run: &Path, old: &Experiment, new: &Experiment) -> Result<(), TrainError> {
    let (old, new) = (flatten(old)?, flatten(new)?);
    let keys = old.iter().chain(&new).map(|(key, _)| key);
    let value = |pairs: &[(String, String)], key: &str| {
        let found = pairs.iter().find(|(k, _)| k == key);
        found.map_or("unset".to_string(), |(_, value)| value.clone())
    };
    for key in keys {
        let section = key.split('.').next().unwrap_or(key);
        if MAY_CHANGE.contains(&key.as_str()) || MAY_CHANGE.contains(&section) {
            continue;
        }
        let (before, now) = (value(&old, key), value(&new, key));
        if before != now {
            return Err(TrainError::Changed {
                run: run.into(),
                key: key.clone(),
                old: before,
                new: now,
            });
        }
    }
    Ok(())
}

/// Every key of an experiment with its value as TOML.
fn flatten(experiment: &Experiment) -> Result<Vec<(String, String)>, TrainError> {
    fn walk(prefix: &str, table: &Table, into: &mut Vec<(String, String)>) {
        for (key, value) in table {
            match value {
                Value::Table(inner) => walk(&format!("{prefix}{key}."), inner, into),
                value => into.push((format!("{prefix}{key}"), value.to_string())),
            }
        }
    }
    let table = Table::try_from(experiment).map_err(|error| TrainError::Encode {
        what: "the experiment",
        message: error.to_string(),
    })?;
    let mut pairs = Vec::new();
    walk("", &table, &mut pairs);
    Ok(pairs)
}
