//! The folder of several runs, locked while they are trained.
//!
//! ```text
//! runs/NAME/seeds.toml            the seeds, in the order of their runs
//!           seed-1/  seed-2/ ...  an ordinary run folder each
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{Seeds, with_seed};
use crate::checkpoint::{self, store, store::SEEDS};
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::run::context::Run;
use crate::run::folder::{
    self, CONFIG, Existing, LOCK, REPORT, RunFolder, check_apart, is_vacant, lock, remove_file,
};
use crate::run::start::RunOptions;

/// The folder of a seed's run in the folder of all.
pub(crate) fn place(folder: &Path, seed: u64) -> PathBuf {
    folder.join(format!("seed-{seed}"))
}

/// Whether the run of a seed has begun in the folder of all.
fn is_begun(folder: &Path, seed: u64) -> bool {
    place(folder, seed).join(CONFIG).is_file()
}

/// Whether the run in the folder `run` is finished.
pub(crate) fn is_finished(run: &Path) -> bool {
    checkpoint::progress(&store::last(run)).is_some_and(|progress| progress.finished)
}

/// The experiment of the run or runs in `folder`. `None`: there is no run.
///
/// # Errors
/// The errors of [`Seeds::read`] and [`crate::load`].
pub fn experiment_in(folder: &Path) -> Result<Option<Experiment>, TrainError> {
    let Some(seeds) = Seeds::read(folder)? else {
        return folder::experiment_in(folder);
    };
    let mut begun = seeds.iter().filter(|&seed| is_begun(folder, seed));
    match begun.next() {
        Some(seed) => folder::experiment_in(&place(folder, seed)),
        None => Ok(None),
    }
}

/// A folder of several runs.
pub(super) struct SeedsFolder<'a> {
    path: &'a Path,
    seeds: &'a Seeds,
    existing: Existing,
    /// The seeds of the existing runs. `None`: no run has started.
    before: Option<Seeds>,
    /// Whether the folder was made for these runs.
    is_new: bool,
    /// The lock. `None`: the folder is not locked yet.
    lock: Option<File>,
}

impl<'a> SeedsFolder<'a> {
    /// Checks the folder `path`, which is to hold the runs of `seeds`, and changes nothing. `--resume` may add seeds.
    ///
    /// # Errors
    /// [`TrainError::RunExists`], [`TrainError::NotARun`]; [`TrainError::Value`] if `--resume` lacks a seed, or if the
    /// folder has a single run.
    pub fn find(path: &'a Path, seeds: &'a Seeds, existing: Existing) -> Result<Self, TrainError> {
        if path.join(CONFIG).is_file() {
            return Err(TrainError::Value {
                key: "--seeds".into(),
                found: format!("{seeds}, and {} holds a single run", path.display()),
                accepted: "a folder of their own: --out DIR".into(),
            });
        }
        let listed = Seeds::read(path)?;
        if listed.is_none() && !is_vacant(path) {
            return Err(TrainError::NotARun(path.into()));
        }
        // A start that was killed before its first run leaves only the list.
        let before = listed.filter(|seeds| seeds.iter().any(|seed| is_begun(path, seed)));
        match &before {
            Some(_) if existing == Existing::Refuse => {
                return Err(TrainError::RunExists(path.into()));
            }
            Some(before)
                if existing == Existing::Resume && !before.iter().all(|seed| seeds.has(seed)) =>
            {
                return Err(TrainError::Value {
                    key: "--seeds".into(),
                    found: format!("{seeds}, and {} has runs of {before}", path.display()),
                    accepted: format!("those and more, as in {before},N"),
                });
            }
            _ => {}
        }
        Ok(Self {
            path,
            seeds,
            existing,
            before,
            is_new: !path.exists(),
            lock: None,
        })
    }

    /// Whether one of the runs has started before.
    pub fn is_begun(&self) -> bool {
        self.before.is_some()
    }

    /// Makes or takes over the folder, after the first run was opened, and locks it. Deletes all runs that `--force`
    /// replaces at once, so that none of them is later taken for one of the new runs.
    ///
    /// # Errors
    /// [`TrainError::RunLocked`], [`TrainError::Io`]; those of [`RunFolder::open`] for the existing runs.
    pub fn take(&mut self, first: &Run, accepted: &[&str]) -> Result<(), TrainError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let experiment = &first.description.experiment;
        if self.existing != Existing::Resume {
            check_apart(self.path, experiment)?;
        }
        fs::create_dir_all(self.path).map_err(|e| TrainError::io("create", self.path, e))?;
        self.lock = Some(lock(self.path)?);
        let before = self.before.iter().flat_map(Seeds::iter);
        let begun = before.filter(|seed| is_begun(self.path, *seed));
        let open = |seed| {
            let (place, experiment) = (place(self.path, seed), with_seed(experiment, seed));
            let folder = RunFolder::open(&place, &experiment, self.existing, accepted);
            let folder = folder.map_err(|error| error.of_seed(seed))?;
            Ok((folder, experiment))
        };
        let runs: Vec<(RunFolder, Experiment)> =
            begun.map(open).collect::<Result<_, TrainError>>()?;
        if self.existing == Existing::Replace {
            for (folder, experiment) in runs {
                if !self.seeds.has(experiment.train.seed) {
                    folder.remove()?;
                    continue;
                }
                folder.clear()?;
                folder.record(&experiment, &first.environment)?;
            }
            remove_file(&self.path.join(REPORT))?;
        }
        self.seeds.write(self.path)
    }

    /// Removes the folder if it was made for these runs and the first run was refused.
    pub fn abandon(self) {
        if self.is_new
            && self.lock.is_some()
            && !self.seeds.iter().any(|seed| is_begun(self.path, seed))
        {
            // A folder that cannot be removed is not an error, because the next start can use it.
            let files = [SEEDS, LOCK].map(|name| fs::remove_file(self.path.join(name)));
            let _ = files
                .into_iter()
                .collect::<Result<(), _>>()
                .and_then(|()| fs::remove_dir(self.path));
        }
    }

    /// `options` for the run of a seed.
    pub fn options(&self, seed: u64, options: &RunOptions) -> RunOptions {
        RunOptions {
            device: options.device.clone(),
            out: place(self.path, seed),
            existing: match self.existing {
                Existing::Resume if !is_begun(self.path, seed) => Existing::Refuse,
                existing => existing,
            },
            ..*options
        }
    }
}
