//! The training loop: epochs of steps, each epoch evaluated, reported and saved.
//!
//! Why it is ours and not burn-train's is told in [`crate::fit`], which opens what it needs;
//! `conclusion.rs` is its end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use shufflenet_data::Batches;

use crate::checkpoint::Best;
use crate::console::{Console, Epoch, describe, duration};
use crate::error::TrainError;
use crate::fit::Outcome;
use crate::journal::Journal;
use crate::metrics_log::{Line, now};
use crate::pace::{Pace, Slowdown};
use crate::progressive;
use crate::run::{Evaluation, Run};
use crate::run_folder::RunFolder;
use crate::state::State;
use crate::tally::Tally;

/// A run under way.
pub(crate) struct Training<'a> {
    pub run: &'a Run<'a>,
    /// `None`: another rank writes.
    pub folder: Option<&'a RunFolder>,
    pub journal: Journal<'a>,
    pub state: State,
    /// Where this process began.
    pub first_step: usize,
}

impl Training<'_> {
    /// Trains to the end, or until asked to stop.
    ///
    /// # Errors
    /// [`TrainError`]; checkpoints written before stay as they are.
    pub fn train(mut self, console: &mut Console) -> Result<Outcome, TrainError> {
        let begin = Instant::now();
        let (run, progress) = (self.run, &self.state.progress);
        let steps = run.batches().div_ceil(run.experiment.train.accumulate);
        let (epochs, first) = (run.total_steps().div_ceil(steps), progress.epochs + 1);
        console.begin(&run.experiment.name, epochs, first, run.interrupter())?;
        let mut first_epoch = true;
        let mut slowdown = Slowdown::default();
        while !self.run.is_done(&self.state.progress) {
            let mut pace = Pace::start(first_epoch);
            first_epoch = false;
            self.train_epoch(console, &mut pace)?;
            self.settle()?;
            let speed = pace.speed();
            let epoch = self.state.progress.epochs + 1;
            let size = progressive::size_in(&self.run.experiment.train.progressive, epoch);
            let slower = slowdown.note(epoch, size, speed);
            let evaluation = || self.run.sources.evaluation.epoch(0, 0);
            let stops = self.run.interrupter().should_stop();
            let evaluated = match self.run.is_evaluated(&self.state.progress) {
                _ if stops => None,
                true => self.run.evaluate(&self.state, evaluation, console)?,
                false => Some(Vec::new()),
            };
            let Some(evaluated) = evaluated else {
                return self.stop(console);
            };
            self.end_epoch(console, speed, &evaluated)?;
            if let Some(slower) = slower {
                console.line(&format!("pace       {slower}"));
            }
        }
        self.conclude(console, begin)
    }

    /// The steps that are left of the epoch under way, until it ends, the run's last step is taken
    /// or a stop is asked for.
    fn train_epoch(&mut self, console: &mut Console, pace: &mut Pace) -> Result<(), TrainError> {
        let run = self.run;
        let (train, total) = (&run.experiment.train, run.total_steps());
        let steps = run.batches().div_ceil(train.accumulate);
        let images = run.sources.train.records_in(0..run.batches());
        console.epoch(&Epoch {
            number: self.state.progress.epochs + 1,
            of: train.epochs,
            images,
            steps,
            done: self.state.progress.batch / train.accumulate,
        });
        let mut batches = run.rest_of_epoch(&self.state);
        while batches.len() > 0
            && self.state.progress.step < total
            && !run.interrupter().should_stop()
        {
            self.step(&mut batches, pace)?;
            if let Some(speed) = pace.first_estimate() {
                self.tell_pace(speed, console);
            }
            let progress = &self.state.progress;
            console.step(&progress.tally, run.rate_used(&self.state), pace.speed());
            if train.log_every > 0 && progress.step.is_multiple_of(train.log_every) {
                self.log_step(console, pace)?;
            }
            if self.journal.is_due(self.state.progress.step) {
                self.save()?;
            }
        }
        console.finish();
        Ok(())
    }

    /// How long the steps that are left take at `speed`, images of this epoch a second.
    fn tell_pace(&self, speed: f64, console: &mut Console) {
        let (run, progress) = (self.run, &self.state.progress);
        let (train, shape) = (&run.experiment.train, run.sources.shape);
        let short = shape.height.min(shape.width);
        let cost = |epoch| progressive::cost(&train.progressive, epoch, short);
        let steps = run.batches().div_ceil(train.accumulate);
        let each = (progress.step..run.total_steps()).map(|step| cost(step / steps + 1));
        let epochs = each.sum::<f64>() / cost(progress.epochs + 1) / steps as f64;
        let images = run.sources.train.records_in(0..run.batches());
        let left = Duration::try_from_secs_f64(epochs * images as f64 / speed);
        let left = duration(left.unwrap_or(Duration::MAX));
        console.line(&format!(
            "pace       {speed:.0} images/s: about {left} to go, evaluation not counted"
        ));
    }

    fn step(&mut self, batches: &mut Batches, pace: &mut Pace) -> Result<(), TrainError> {
        match self.run.step(&mut self.state, batches)? {
            Ok(images) => {
                pace.add(images);
                Ok(())
            }
            Err(what) => Err(self.diverged(what)),
        }
    }

    fn diverged(&self, what: &str) -> TrainError {
        let progress = &self.state.progress;
        let rate = self.run.schedule.rate(progress.step);
        self.journal.diverged(what, progress, rate)
    }

    /// Waits for what a GPU still computes, and counts it.
    fn settle(&mut self) -> Result<(), TrainError> {
        let settled = self.run.settle(&mut self.state)?;
        settled.map_err(|what| self.diverged(what))
    }

    /// Writes a checkpoint, and says where.
    pub fn save(&mut self) -> Result<PathBuf, TrainError> {
        self.settle()?;
        let rate = self.run.rate_used(&self.state);
        self.journal.save(&mut self.state, rate)
    }

    /// Leaves before the end, with everything saved.
    pub fn stop(&mut self, console: &mut Console) -> Result<Outcome, TrainError> {
        let saved = self.save()?;
        console.line(&format!(
            "stopped    at step {}, saved as {}; the same command with --resume goes on",
            self.state.progress.step,
            saved.display()
        ));
        Ok(Outcome::Interrupted)
    }

    fn log_step(&mut self, console: &mut Console, pace: &Pace) -> Result<(), TrainError> {
        self.settle()?;
        let speed = pace.speed();
        let line = self.train_line("step", speed);
        self.journal.append(&line)?;
        if !console.is_live() {
            console.line(&format!(
                "  step {}/{}  {}, lr {:.4}, {speed:.0} img/s",
                line.step,
                self.run.total_steps(),
                describe(&line.metrics),
                line.lr
            ));
        }
        Ok(())
    }

    /// The epoch under way so far.
    fn train_line(&self, event: &'static str, speed: f64) -> Line<'static> {
        let progress = &self.state.progress;
        Line {
            event,
            epoch: progress.epochs + 1,
            step: progress.step,
            split: "train",
            weights: None,
            metrics: progress.tally.metrics(),
            lr: self.run.rate_used(&self.state),
            img_per_s: speed,
            time: now(),
        }
    }

    /// Reports the epoch, remembers it where it is the best, saves. An epoch that the run's last step
    /// cut short stays under way: a longer run goes on in its middle.
    fn end_epoch(
        &mut self,
        console: &mut Console,
        speed: f64,
        evaluated: &[Evaluation],
    ) -> Result<(), TrainError> {
        self.report_epoch(console, speed, evaluated)?;
        self.remember(evaluated);
        let progress = &mut self.state.progress;
        if progress.batch == self.run.batches() {
            progress.epochs += 1;
            progress.batch = 0;
            progress.tally = Tally::default();
        }
        self.run.compare_weights(&self.state)?;
        self.save()?;
        Ok(())
    }

    /// A line of the metrics for the training and for each evaluation, and one for a person.
    fn report_epoch(
        &mut self,
        console: &mut Console,
        speed: f64,
        evaluated: &[Evaluation],
    ) -> Result<(), TrainError> {
        let split = self.run.sources.evaluation_split();
        let trained = self.train_line("epoch", speed);
        let mut summary = format!(
            "epoch {}/{}  train: {}",
            trained.epoch,
            self.run.experiment.train.epochs,
            describe(&trained.metrics)
        );
        self.journal.append(&trained)?;
        for evaluation in evaluated {
            let line = Line {
                split,
                weights: evaluation.weights,
                metrics: evaluation.metrics,
                img_per_s: evaluation.speed,
                ..trained
            };
            self.journal.append(&line)?;
            let of = evaluation
                .weights
                .map_or(String::new(), |weights| format!(" ({weights})"));
            summary += &format!("  {split}{of}: {}", describe(&evaluation.metrics));
        }
        console.line(&format!(
            "{summary}  lr {:.4}, {speed:.0} img/s",
            trained.lr
        ));
        Ok(())
    }

    /// That the epoch was evaluated, and whether it is the best so far.
    fn remember(&mut self, evaluated: &[Evaluation]) {
        let progress = &mut self.state.progress;
        let Some(last) = evaluated.last() else { return };
        progress.evaluated = progress.step;
        let criterion = self.run.experiment.checkpoint.best_by;
        let value = criterion.of(&last.metrics);
        let best = progress.best.as_ref();
        if best.is_none_or(|best| criterion.prefers(value, best.value)) {
            progress.best = Some(Best {
                value,
                epoch: progress.epochs + 1,
                step: progress.step,
            });
        }
    }
}
