//! Writes the metrics and checkpoints of a run, so that the two always agree.
//!
//! A checkpoint records how many bytes of `metrics.jsonl` belong to its steps. These bytes are on disk before the
//! checkpoint is. A checkpoint is written after a given number of steps or minutes, at the end of each epoch and on an
//! interruption. It never has an infinity or a NaN. With several ranks, the first rank writes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::checkpoint::description::Description;
use crate::checkpoint::store;
use crate::divergence::Place;
use crate::error::TrainError;
use crate::experiment::CheckpointConfig;
use crate::links::read_link;
use crate::metrics::line::Line;
use crate::metrics::log::MetricsLog;
use crate::run::folder::RunFolder;
use crate::step::state::{State, not_finite};

/// The open records of a run.
pub struct Journal<'a> {
    /// `None`: another rank writes.
    files: Option<Files>,
    config: &'a CheckpointConfig,
    description: &'a Description,
    saved: Instant,
}

/// The files of a run that are written to.
struct Files {
    checkpoints: PathBuf,
    log: MetricsLog,
}

impl<'a> Journal<'a> {
    /// A journal for a rank that writes nothing.
    pub fn unwritten(config: &'a CheckpointConfig, description: &'a Description) -> Self {
        Self {
            files: None,
            config,
            description,
            saved: Instant::now(),
        }
    }

    /// Opens the checkpoints of `folder` and its metrics, of which the first `keep` bytes are kept. Also returns how
    /// many of these bytes are missing.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn open(
        folder: &RunFolder,
        config: &'a CheckpointConfig,
        description: &'a Description,
        keep: u64,
    ) -> Result<(Self, u64), TrainError> {
        let checkpoints = folder.checkpoints();
        store::open(&checkpoints)?;
        let (log, lost) = MetricsLog::open(&folder.metrics(), keep)?;
        let journal = Self {
            files: Some(Files { checkpoints, log }),
            ..Self::unwritten(config, description)
        };
        Ok((journal, lost))
    }

    /// Appends a line of metrics.
    ///
    /// # Errors
    /// The errors of [`MetricsLog::append`].
    pub fn append(&mut self, line: &Line) -> Result<(), TrainError> {
        match &mut self.files {
            Some(files) => files.log.append(line),
            None => Ok(()),
        }
    }

    /// Whether a checkpoint is due after optimizer step `step`.
    pub fn is_due(&self, step: usize) -> bool {
        let CheckpointConfig {
            every_steps,
            every_minutes,
            ..
        } = *self.config;
        let by_steps = every_steps > 0 && step.is_multiple_of(every_steps);
        let interval = Duration::from_secs_f64(every_minutes * 60.0);
        by_steps || (every_minutes > 0.0 && self.saved.elapsed() >= interval)
    }

    /// Writes a checkpoint, and deletes old ones beyond `checkpoint.keep`. `place` is the current place of the run.
    /// Returns the checkpoint's folder, or an empty path if another rank writes.
    ///
    /// # Errors
    /// [`TrainError::Io`]; [`TrainError::Diverged`] if a weight is infinite or NaN. Earlier checkpoints are then unchanged.
    pub fn save(&mut self, state: &mut State, place: Place) -> Result<PathBuf, TrainError> {
        let Some(files) = &mut self.files else {
            return Ok(PathBuf::new());
        };
        state.progress.metrics_bytes = files.log.sync()?;
        let checkpoint = state.checkpoint(self.description)?;
        if let Some(tensor) = not_finite(&checkpoint) {
            let error = TrainError::diverged(format!("`{tensor}`")).at(place);
            return Err(self.name_last(error));
        }
        let checkpoints = &files.checkpoints;
        let name = store::save(checkpoints, &checkpoint)?;
        if state.progress.is_best() {
            store::link_best(checkpoints, &name)?;
        }
        store::prune(checkpoints, self.config.keep, &name);
        self.saved = Instant::now();
        Ok(checkpoints.join(name))
    }

    /// Adds the last good checkpoint to a divergence. Other errors are returned as they are.
    pub fn name_last(&self, error: TrainError) -> TrainError {
        let name = |files: &Files| {
            let name = read_link(&files.checkpoints.join("last"))?;
            Some(files.checkpoints.join(name).display().to_string())
        };
        error.with_last_checkpoint(self.files.as_ref().and_then(name))
    }
}
