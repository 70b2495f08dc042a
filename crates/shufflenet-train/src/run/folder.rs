//! The folder of a run: made once, locked while in use, and never overwritten without `--force`.
//!
//! ```text
//! runs/NAME/config.toml  environment.json  images.csv.gz  metrics.jsonl  metrics.csv  events.out.tfevents.*
//!           checkpoints/
//! ```

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::checkpoint::store::{self, CHECKPOINTS, SEEDS};
use crate::device::machine::Environment;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::experiment::compare::check_same;
use crate::experiment::settings;
use crate::files::{partial, replace, to_json};
use crate::metrics::log;
use crate::metrics::tensorboard;
use crate::run::image_list;

/// What to do with a run folder that holds a run already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse it, so that nothing is overwritten.
    #[default]
    Refuse,
    /// Continue the run (`--resume`).
    Resume,
    /// Delete the run's files, and start a new run (`--force`).
    Replace,
}

/// A run folder, locked until this is dropped.
pub struct RunFolder {
    path: PathBuf,
    /// Whether [`Self::open`] made the folder.
    is_new: bool,
    _lock: File,
}

pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const ENVIRONMENT: &str = "environment.json";
pub(crate) const REPORT: &str = "report.html";
pub(super) const LOCK: &str = ".lock";

/// The experiment of the run in the folder `path`. `None`: there is no run.
///
/// # Errors
/// The errors of [`settings::load`].
pub fn experiment_in(path: &Path) -> Result<Option<Experiment>, TrainError> {
    let config = path.join(CONFIG);
    config
        .is_file()
        .then(|| settings::load(&config, &[]))
        .transpose()
}

impl RunFolder {
    /// Makes or takes over the folder `path` for `experiment`, and locks it. Nothing is deleted yet ([`Self::clear`]). A
    /// resume may change the keys `accepted` ([`check_same`]).
    ///
    /// # Errors
    /// [`TrainError::RunExists`], [`TrainError::NotARun`], [`TrainError::RunLocked`],
    /// [`TrainError::Changed`] (a resume that would change the experiment), [`TrainError::Io`];
    /// [`TrainError::Value`]: the folder is in the data, or the weights to start from or a teacher are in the folder, or it
    /// holds a run for each of several seeds.
    pub fn open(
        path: &Path,
        experiment: &Experiment,
        existing: Existing,
        accepted: &[&str],
    ) -> Result<Self, TrainError> {
        let config = path.join(CONFIG);
        let is_run = config.is_file();
        if path.is_file() {
            return Err(TrainError::Value {
                key: "the run folder".into(),
                found: format!("{}, a file", path.display()),
                accepted: "a folder: --out DIR".into(),
            });
        }
        if path.join(SEEDS).is_file() {
            return Err(TrainError::Value {
                key: "the run folder".into(),
                found: format!(
                    "{}, which holds a run for each of several seeds",
                    path.display()
                ),
                accepted: "--resume, which continues them, or another place: --out DIR".into(),
            });
        }
        // A `config.toml` of the user's is not a run.
        let is_copy = existing == Existing::Resume && path.join(CHECKPOINTS).is_dir();
        if !(is_vacant(path) || is_run && (is_copy || is_marked(path))) {
            return Err(TrainError::NotARun(path.into()));
        }
        if is_run && existing == Existing::Refuse {
            return Err(TrainError::RunExists(path.into()));
        }
        if is_run && existing == Existing::Resume {
            check_same(path, &settings::load(&config, &[])?, experiment, accepted)?;
        }
        if existing != Existing::Resume {
            check_apart(path, experiment)?;
        }
        let is_new = !path.exists();
        fs::create_dir_all(path).map_err(|e| TrainError::io("create", path, e))?;
        let lock = lock(path)?;
        if !is_run && config.is_file() {
            // Another process started a run here after the checks.
            return Err(TrainError::RunExists(path.into()));
        }
        Ok(Self {
            path: path.into(),
            is_new,
            _lock: lock,
        })
    }

    /// Removes the folder of a refused run, if [`Self::open`] made it and nothing was written into it.
    pub fn abandon(self) {
        if self.is_new {
            // A folder that cannot be removed is not an error, because the next run can use it.
            let _ = fs::remove_file(self.path.join(LOCK)).and_then(|()| fs::remove_dir(&self.path));
        }
    }

    /// Deletes what an earlier run wrote, and its report. Everything else stays.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn clear(&self) -> Result<(), TrainError> {
        clear(&self.path)
    }

    /// Deletes what an earlier run wrote, and the folder if nothing else is in it.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn remove(self) -> Result<(), TrainError> {
        clear(&self.path)?;
        for name in [CONFIG, ENVIRONMENT, LOCK] {
            remove_file(&self.path.join(name))?;
        }
        // What the user put there stays, and so does the folder.
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    /// Writes the experiment and the environment into the folder.
    ///
    /// # Errors
    /// [`TrainError::Io`], [`TrainError::Encode`].
    pub fn record(
        &self,
        experiment: &Experiment,
        environment: &Environment,
    ) -> Result<(), TrainError> {
        let config = settings::to_toml(experiment)?;
        replace(&self.path.join(CONFIG), config.as_bytes())?;
        let bytes = to_json("environment", environment)?;
        replace(&self.path.join(ENVIRONMENT), &bytes)
    }

    /// The content of `environment.json`, from the last start of the run. Empty if it cannot be read.
    pub fn last_environment(&self) -> serde_json::Value {
        let bytes = fs::read(self.path.join(ENVIRONMENT)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// Path of `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(log::NAME)
    }
}

/// Whether the folder `path` is missing or has no files of the user.
pub(super) fn is_vacant(path: &Path) -> bool {
    match fs::read_dir(path) {
        // A run that stopped before its first step leaves these files.
        Ok(mut entries) => {
            let files = [CONFIG, SEEDS].map(|name| partial(&path.join(name)));
            let ours = [[path.join(LOCK)].as_slice(), &files].concat();
            entries.all(|entry| entry.is_ok_and(|entry| ours.contains(&entry.path())))
        }
        Err(_) => !path.exists(),
    }
}

/// Locks a file in the folder through the operating system, which frees the lock when the process ends.
pub(super) fn lock(path: &Path) -> Result<File, TrainError> {
    let file = path.join(LOCK);
    let handle = File::create(&file).map_err(|e| TrainError::io("create", &file, e))?;
    match handle.try_lock() {
        Ok(()) => Ok(handle),
        Err(TryLockError::WouldBlock) => Err(TrainError::RunLocked(path.into())),
        Err(TryLockError::Error(e)) => Err(TrainError::io("lock", &file, e)),
    }
}

/// Refuses a new run in a folder of images, because the run folder would become one of their classes. Also refuses a
/// run that would replace an earlier run with its own start or teacher.
pub(super) fn check_apart(path: &Path, experiment: &Experiment) -> Result<(), TrainError> {
    let place = resolved(path);
    let refuse = |key: &str, found: String| {
        Err(TrainError::Value {
            key: key.into(),
            found,
            accepted: "a place outside of it; --out DIR puts the run elsewhere".into(),
        })
    };
    let data = &experiment.data;
    if data.format.name() == "folder" && place.starts_with(resolved(&data.root)) {
        let found = format!(
            "{}, inside the data {}",
            path.display(),
            data.root.display()
        );
        return refuse("the run folder", found);
    }
    let start = experiment.fine_tune.from.iter();
    let teachers = experiment.distill.iter().flat_map(|d| &d.from.0);
    let needed = start.map(|from| ("fine_tune.from", from));
    let mut needed = needed.chain(teachers.map(|from| ("distill.from", from)));
    match needed.find(|(_, from)| resolved(from).starts_with(&place)) {
        Some((key, from)) => {
            let found = format!(
                "{}, inside the run folder {}",
                from.display(),
                path.display()
            );
            refuse(key, found)
        }
        None => Ok(()),
    }
}

/// `path` without links and dots, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let existing = absolute.ancestors().find_map(|above| {
        let rest = absolute.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(rest))
    });
    existing.unwrap_or(absolute)
}

/// Whether the folder has the lock or the environment of a run, which every run writes.
fn is_marked(path: &Path) -> bool {
    [LOCK, ENVIRONMENT]
        .iter()
        .any(|name| path.join(name).is_file())
}

/// Deletes what a run wrote, and its report. Everything else stays.
fn clear(path: &Path) -> Result<(), TrainError> {
    store::clear(&path.join(CHECKPOINTS))?;
    for name in [
        log::NAME,
        log::TABLE,
        tensorboard::NAME,
        image_list::NAME,
        REPORT,
    ] {
        remove_file(&path.join(name))?;
    }
    Ok(())
}

/// Deletes a file that need not be there.
pub(super) fn remove_file(file: &Path) -> Result<(), TrainError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(TrainError::io("remove", file, error))
        }
        _ => Ok(()),
    }
}
