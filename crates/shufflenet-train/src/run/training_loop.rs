//! The training loop, from top to bottom: epoch, step, log, evaluate, save, stop.
//!
//! Everything that changes from step to step is in one [`State`]. A checkpoint is that state, so a run continues
//! exactly after any step. [`crate::run::start`] opens device, data and folder for the loop, and `conclusion.rs` ends a
//! run. ARCHITECTURE.md explains why the loop is not burn-train's.

use std::path::PathBuf;
use std::time::Instant;

use crate::checkpoint::Best;
use crate::display::console::Console;
use crate::display::words::{describe, rate};
use crate::divergence::Place;
use crate::error::TrainError;
use crate::evaluation::tally::{Evaluation, Tally};
use crate::metrics::line::{Line, now};
use crate::recipe::progressive::size_in;
use crate::run::context::Run;
use crate::run::folder::RunFolder;
use crate::run::journal::Journal;
use crate::run::pace::{Pace, Slowdown};
use crate::step::state::State;

/// How a run ended.
pub enum Outcome {
    /// Every step was taken.
    Finished,
    /// The run was asked to stop, and saved its state.
    Interrupted,
}

/// A run in progress.
pub(crate) struct Training<'a> {
    /// The part of the run that no step changes.
    pub run: &'a Run,
    /// The run folder. `None`: another rank writes it.
    pub folder: Option<&'a RunFolder>,
    /// Metrics and checkpoints on disk.
    pub journal: Journal<'a>,
    /// The part of the run that every step changes.
    pub state: State,
    /// The step at which this process started.
    pub first_step: usize,
}

impl Training<'_> {
    /// Trains to the end, or until a stop is requested.
    ///
    /// # Errors
    /// [`TrainError`]. Earlier checkpoints are unchanged.
    pub fn train(mut self, console: &mut Console) -> Result<Outcome, TrainError> {
        let (run, begin) = (self.run, Instant::now());
        let first = self.state.progress.epochs + 1;
        console.begin(&run.experiment.name, run.epochs(), first, run.interrupter())?;
        let mut slowdown = Slowdown::default();
        while !run.is_done(&self.state.progress) {
            let epoch = self.state.progress.epochs + 1;
            let speed = self.train_epoch(epoch == first, console)?;
            let Some(evaluations) = self.evaluate(console)? else {
                return self.stop(console);
            };
            self.report_epoch(speed, &evaluations, console)?;
            self.remember_best(&evaluations);
            self.end_epoch();
            run.compare_weights(&self.state)?;
            self.save()?;
            let size = size_in(&run.experiment.train.progressive, epoch);
            if let Some(slower) = speed.and_then(|speed| slowdown.note(epoch, size, speed)) {
                console.line(&format!("pace       {slower}"));
            }
        }
        self.conclude(console, begin)
    }

    /// Takes the remaining steps of the current epoch, until it ends, the run's last step is taken or a stop is requested.
    /// Returns images per second. `None`: all steps were taken before this process started.
    fn train_epoch(
        &mut self,
        is_first: bool,
        console: &mut Console,
    ) -> Result<Option<f64>, TrainError> {
        let (run, log_every) = (self.run, self.run.experiment.train.log_every);
        let mut pace = Pace::start(is_first);
        console.epoch(&run.epoch(&self.state.progress));
        let mut batches = run.rest_of_epoch(&self.state);
        while batches.len() > 0
            && self.state.progress.step < run.total_steps()
            && !run.interrupter().should_stop()
        {
            let rates = run.rates(self.state.progress.step);
            let images = run.step(&mut self.state, &mut batches, rates);
            let speed = pace.add(images.map_err(|error| self.journal.name_last(error))?);

            let step = self.state.progress.step;
            if let Some(speed) = pace.first_estimate() {
                console.line(&run.estimate(&self.state.progress, speed));
            }
            console.step(&self.state.progress.tally, rates.learning_rate, speed);
            if log_every > 0 && step.is_multiple_of(log_every) {
                self.log_step(speed, console)?;
            }
            if self.journal.is_due(step) {
                self.save()?;
            }
        }
        console.finish();
        self.settle()?;
        Ok(pace.speed())
    }

    /// Measures the weights and their average, if this epoch is to be evaluated. Otherwise the list is empty. `None`: a
    /// stop was requested.
    fn evaluate(&self, console: &mut Console) -> Result<Option<Vec<Evaluation>>, TrainError> {
        let run = self.run;
        if run.interrupter().should_stop() {
            return Ok(None);
        }
        if !run.is_evaluated(&self.state.progress) {
            return Ok(Some(Vec::new()));
        }
        let batches = || run.sources.evaluation.epoch(0, 0);
        run.evaluate(&self.state, batches, console)
    }

    /// Reads the pending logits of a GPU and counts their images.
    fn settle(&mut self) -> Result<(), TrainError> {
        let settled = self.run.settle(&mut self.state);
        settled.map_err(|error| self.journal.name_last(error))
    }

    /// Writes a checkpoint. Returns its folder.
    pub fn save(&mut self) -> Result<PathBuf, TrainError> {
        self.settle()?;
        let place = Place {
            rate: self.run.rate_used(&self.state.progress),
            ..self.run.place(&self.state.progress)
        };
        let saved = self.journal.save(&mut self.state, place);
        // The other ranks neither write nor check a checkpoint.
        saved.map_err(|error| self.run.cluster.of_this_rank(error))
    }

    /// Ends the run before its last step, with everything saved.
    pub fn stop(&mut self, console: &mut Console) -> Result<Outcome, TrainError> {
        let saved = self.save()?;
        console.line(&format!(
            "stopped    at step {}, saved as {}; the same command with --resume continues",
            self.state.progress.step,
            saved.display()
        ));
        Ok(Outcome::Interrupted)
    }

    /// Writes the epoch so far to the metrics and, if no bar shows it, to the console.
    fn log_step(&mut self, speed: f64, console: &mut Console) -> Result<(), TrainError> {
        self.settle()?;
        let line = self.train_line("step", Some(speed));
        self.journal.append(&line)?;
        if !console.is_live() {
            let (of, metrics) = (self.run.total_steps(), describe(&line.metrics));
            let (step, rate) = (line.step, rate(line.lr));
            console.line(&format!(
                "  step {step}/{of}  {metrics}, lr {rate}, {speed:.0} img/s"
            ));
        }
        Ok(())
    }

    /// A line of metrics on the epoch so far.
    fn train_line(&self, event: &'static str, speed: Option<f64>) -> Line<'static> {
        let progress = &self.state.progress;
        Line {
            event,
            epoch: progress.epochs + 1,
            step: progress.step,
            split: "train",
            weights: None,
            metrics: progress.tally.metrics(),
            lr: self.run.rate_used(progress),
            img_per_s: speed,
            time: now(),
        }
    }

    /// Writes the epoch's training and evaluations to the metrics, and one line to the console.
    fn report_epoch(
        &mut self,
        speed: Option<f64>,
        evaluations: &[Evaluation],
        console: &mut Console,
    ) -> Result<(), TrainError> {
        let (split, of) = (self.run.sources.evaluation_split, self.run.epochs());
        let trained = self.train_line("epoch", speed);
        self.journal.append(&trained)?;
        let metrics = describe(&trained.metrics);
        let mut summary = format!("epoch {}/{of}  train: {metrics}", trained.epoch);
        for evaluation in evaluations {
            self.journal.append(&Line {
                split,
                weights: evaluation.weights,
                metrics: evaluation.metrics,
                img_per_s: Some(evaluation.speed),
                ..trained
            })?;
            let of = evaluation
                .weights
                .map_or(String::new(), |weights| format!(" ({weights})"));
            summary += &format!("  {split}{of}: {}", describe(&evaluation.metrics));
        }
        summary += &format!("  lr {}", rate(trained.lr));
        if let Some(speed) = speed {
            summary += &format!(", {speed:.0} img/s");
        }
        console.line(&summary);
        Ok(())
    }

    /// Records that the epoch was evaluated, and whether it is the best so far. The last of its evaluations decides.
    fn remember_best(&mut self, evaluations: &[Evaluation]) {
        let progress = &mut self.state.progress;
        let Some(last) = evaluations.last() else {
            return;
        };
        progress.evaluated = progress.step;
        let criterion = self.run.experiment.checkpoint.best_by;
        let (value, loss) = (criterion.of(&last.metrics), last.metrics.loss);
        if !loss.is_finite() {
            // Running statistics can overflow although every weight is finite. JSON has no infinity and no NaN.
            return;
        }
        // A small part is soon classified without a mistake. Then the loss still distinguishes the epochs.
        let is_better = |best: &Best| {
            let is_equal = value == best.value && best.loss.is_some_and(|old| loss < old);
            criterion.prefers(value, best.value) || is_equal
        };
        if progress.best.as_ref().is_none_or(is_better) {
            progress.best = Some(Best {
                value,
                loss: Some(loss),
                epoch: progress.epochs + 1,
                step: progress.step,
            });
        }
    }

    /// Counts an epoch whose batches were all taken. An epoch that the run's last step cut short stays unfinished, so
    /// that a longer run can continue within it.
    fn end_epoch(&mut self) {
        let progress = &mut self.state.progress;
        if progress.batch == self.run.batches() {
            progress.epochs += 1;
            progress.batch = 0;
            progress.tally = Tally::default();
        }
    }
}
