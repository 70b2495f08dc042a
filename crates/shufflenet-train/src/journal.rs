//! What a run writes as it goes, metrics and checkpoints, so that the two always agree.
//!
//! A checkpoint knows how many bytes of `metrics.jsonl` belong to the steps that it holds; they are on
//! disk before it is. It is written when so many steps or minutes have passed, at each epoch's end and on
//! an interruption; never with a number in it that is none. Of several ranks the first writes for all.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::checkpoint::{Description, Progress};
use crate::error::TrainError;
use crate::experiment::CheckpointConfig;
use crate::metrics_log::{Line, MetricsLog};
use crate::run_folder::RunFolder;
use crate::state::{State, not_finite};
use crate::store;

/// The open records of a run.
pub struct Journal<'a> {
    /// `None`: another rank writes.
    files: Option<Files>,
    config: &'a CheckpointConfig,
    description: &'a Description,
    saved: Instant,
}

/// What is written to.
struct Files {
    checkpoints: PathBuf,
    log: MetricsLog,
}

impl<'a> Journal<'a> {
    /// The records of a rank that writes none.
    pub fn unwritten(config: &'a CheckpointConfig, description: &'a Description) -> Self {
        Self {
            files: None,
            config,
            description,
            saved: Instant::now(),
        }
    }

    /// Opens the metrics of `folder`, keeping their first `keep` bytes, and its checkpoints. Also says how
    /// many of these bytes are lost.
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
    /// As [`MetricsLog::append`].
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

    /// Writes a checkpoint and takes away those that are too many. `rate` is that of the step last taken.
    /// Returns its folder, an empty path where another rank writes.
    ///
    /// # Errors
    /// [`TrainError::Io`]; [`TrainError::Diverged`] where a weight is no number. Then nothing saved before
    /// is touched.
    pub fn save(&mut self, state: &mut State, rate: f64) -> Result<PathBuf, TrainError> {
        let Some(files) = &mut self.files else {
            return Ok(PathBuf::new());
        };
        state.progress.metrics_bytes = files.log.sync()?;
        let checkpoint = state.checkpoint(self.description)?;
        if let Some(tensor) = not_finite(&checkpoint) {
            return Err(self.diverged(&format!("`{tensor}`"), &state.progress, rate));
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

    /// The end of a run in which `what` is no longer a number.
    pub fn diverged(&self, what: &str, progress: &Progress, rate: f64) -> TrainError {
        let named = |files: &Files| {
            let name = files.checkpoints.join("last").read_link().ok()?;
            Some(files.checkpoints.join(name).display().to_string())
        };
        let last = self.files.as_ref().and_then(named);
        TrainError::Diverged {
            what: what.into(),
            step: progress.step,
            epoch: progress.epochs + 1,
            rate,
            last: last.unwrap_or_else(|| "none".into()),
        }
    }
}
