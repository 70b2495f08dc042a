//! What a run writes as it goes, metrics and checkpoints, so that the two always agree.
//!
//! A checkpoint knows how many bytes of `metrics.jsonl` belong to the steps that it holds; they are on
//! disk before it is. It is written when so many steps or minutes have passed, at each epoch's end and on
//! an interruption; never with a number in it that is none.

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
    checkpoints: PathBuf,
    log: MetricsLog,
    config: &'a CheckpointConfig,
    description: &'a Description,
    saved: Instant,
}

impl<'a> Journal<'a> {
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
            checkpoints,
            log,
            config,
            description,
            saved: Instant::now(),
        };
        Ok((journal, lost))
    }

    /// Appends a line of metrics.
    ///
    /// # Errors
    /// As [`MetricsLog::append`].
    pub fn append(&mut self, line: &Line) -> Result<(), TrainError> {
        self.log.append(line)
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
    /// Returns its folder.
    ///
    /// # Errors
    /// [`TrainError::Io`]; [`TrainError::Diverged`] where a weight is no number. Then nothing saved before
    /// is touched.
    pub fn save(&mut self, state: &mut State, rate: f64) -> Result<PathBuf, TrainError> {
        state.progress.metrics_bytes = self.log.sync()?;
        let checkpoint = state.checkpoint(self.description)?;
        if let Some(tensor) = not_finite(&checkpoint) {
            return Err(self.diverged(&format!("`{tensor}`"), &state.progress, rate));
        }
        let name = store::save(&self.checkpoints, &checkpoint)?;
        if state.progress.is_best() {
            store::link_best(&self.checkpoints, &name)?;
        }
        store::prune(&self.checkpoints, self.config.keep, &name);
        self.saved = Instant::now();
        Ok(self.checkpoints.join(name))
    }

    /// The end of a run in which `what` is no longer a number.
    pub fn diverged(&self, what: &str, progress: &Progress, rate: f64) -> TrainError {
        let last = self.checkpoints.join("last");
        let last = match last.read_link() {
            Ok(name) => self.checkpoints.join(name).display().to_string(),
            Err(_) => "none".into(),
        };
        TrainError::Diverged {
            what: what.into(),
            step: progress.step,
            epoch: progress.epochs + 1,
            rate,
            last,
        }
    }
}
