//! The folder of several runs, locked while they are trained.
//!
//! ```text
//! runs/NAME/seeds.toml            the seeds, in the order of their runs
//!           seed-1/  seed-2/ ...  an ordinary run folder each
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{Seeds, with_seed};
use crate::checkpoint::{self, store};
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::run::context::Run;
use crate::run::folder::{self, CONFIG, Existing, RunFolder, check_apart, is_vacant, lock};
use crate::run::start::RunOptions;

/// The folder of a seed's run in the folder of all.
pub(crate) fn place(folder: &Path, seed: u64) -> PathBuf {
    folder.join(format!("seed-{seed}"))
}

/// Whether the run in the folder `run` came to its end.
pub(crate) fn is_finished(run: &Path) -> bool {
    checkpoint::progress(&store::last(run)).is_some_and(|progress| progress.finished)
}

/// The experiment of the run, or of the several runs, in `folder`. `None`: no run is there.
///
/// # Errors
/// Those of [`Seeds::read`] and [`crate::load`].
pub fn experiment_in(folder: &Path) -> Result<Option<Experiment>, TrainError> {
    match Seeds::read(folder)? {
        Some(seeds) => folder::experiment_in(&place(folder, seeds.first())),
        None => folder::experiment_in(folder),
    }
}

/// A folder of several runs.
pub(super) struct SeedsFolder<'a> {
    path: &'a Path,
    seeds: &'a Seeds,
    existing: Existing,
    /// The seeds of the runs that are there already.
    before: Option<Seeds>,
    /// `None`: not taken yet.
    lock: Option<File>,
}

impl<'a> SeedsFolder<'a> {
    /// Looks at the folder `path`, which is to hold the runs of `seeds`. Changes nothing. A resumption may add seeds.
    ///
    /// # Errors
    /// [`TrainError::RunExists`], [`TrainError::NotARun`]; [`TrainError::Changed`] where a resumption lacks a seed;
    /// [`TrainError::Value`] where a single run is there.
    pub fn find(path: &'a Path, seeds: &'a Seeds, existing: Existing) -> Result<Self, TrainError> {
        if path.join(CONFIG).is_file() {
            return Err(TrainError::Value {
                key: "--seeds".into(),
                found: format!("{seeds}, and {} holds a single run", path.display()),
                accepted: "a folder of their own: --out DIR".into(),
            });
        }
        let before = Seeds::read(path)?;
        match &before {
            None if !is_vacant(path) => return Err(TrainError::NotARun(path.into())),
            Some(_) if existing == Existing::Refuse => {
                return Err(TrainError::RunExists(path.into()));
            }
            Some(before)
                if existing == Existing::Resume && !before.iter().all(|seed| seeds.has(seed)) =>
            {
                return Err(TrainError::Changed {
                    run: path.into(),
                    key: "--seeds".into(),
                    old: before.to_string(),
                    new: seeds.to_string(),
                });
            }
            _ => {}
        }
        Ok(Self {
            path,
            seeds,
            existing,
            before,
            lock: None,
        })
    }

    /// Makes or takes over the folder, when the first run is open, and locks it. Deletes the runs that `--force` replaces,
    /// all at once: none of them must be taken for one of the new runs.
    ///
    /// # Errors
    /// [`TrainError::RunLocked`], [`TrainError::Io`]; those of [`RunFolder::open`] for the runs that are there.
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
        let begun = before.filter(|seed| self.is_begun(*seed));
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
                folder.clear()?;
                folder.record(&experiment, &first.environment)?;
            }
        }
        self.seeds.write(self.path)
    }

    fn is_begun(&self, seed: u64) -> bool {
        place(self.path, seed).join(CONFIG).is_file()
    }

    /// `options` for the run of a seed.
    pub fn options(&self, seed: u64, options: &RunOptions) -> RunOptions {
        RunOptions {
            device: options.device.clone(),
            out: place(self.path, seed),
            existing: match self.existing {
                Existing::Resume if !self.is_begun(seed) => Existing::Refuse,
                existing => existing,
            },
            ..*options
        }
    }
}
