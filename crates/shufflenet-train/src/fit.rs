//! The training loop: from an experiment to a run folder.
//!
//! The model steps through burn-train's `TrainStep` and is stopped through its `Interrupter`. The
//! loop is ours, because burn-train's learner keeps its optimizer to itself, saves only at the end of
//! an epoch (an interrupt leaves before that), and sums its metrics on another thread, where a
//! checkpoint cannot reach them. Here all that changes from step to step is one [`State`], and a
//! checkpoint is that state: written after any step, continued exactly.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use shufflenet_data::Batches;

use crate::average::LABEL;
use crate::checkpoint::{self, Best};
use crate::classifier::Classifier;
use crate::cluster::Cluster;
use crate::console::{Console, Epoch, describe, duration, thousands};
use crate::error::TrainError;
use crate::evaluate::{chosen, restore, score};
use crate::experiment::Experiment;
use crate::journal::Journal;
use crate::metrics_log::{Line, now};
use crate::pace::Pace;
use crate::run::{Evaluation, Run};
use crate::run_folder::{Existing, RunFolder};
use crate::state::State;
use crate::tally::Tally;
use crate::{Interrupter, progressive, resume, store};

/// What the command line adds to an experiment.
pub struct Options {
    /// Device name.
    pub device: String,
    /// Threads in use, for the record.
    pub threads: usize,
    /// The run folder.
    pub out: PathBuf,
    /// What to do where it holds a run already.
    pub existing: Existing,
}

/// How a run ended.
pub enum Outcome {
    /// Every step was taken.
    Finished,
    /// It was asked to stop, and saved what it had.
    Interrupted,
}

/// Trains `experiment` on this process alone, or goes on where its run folder says.
///
/// Everything that can be refused is refused before anything in the run folder is changed.
///
/// # Errors
/// [`TrainError`]; checkpoints written before stay as they are.
pub fn fit(
    experiment: &Experiment,
    options: &Options,
    interrupter: &Interrupter,
    console: &mut Console,
) -> Result<Outcome, TrainError> {
    let cluster = Rc::new(Cluster::alone(interrupter));
    fit_together(experiment, options, &cluster, console)
}

/// The same on every rank of `cluster`. The first writes the run folder; the others need none.
///
/// # Errors
/// As [`fit`]. What stops a run before it begins is an error on every rank. Later one, but for a divergence,
/// is this rank's alone, and others wait for it: [`Cluster::abort`].
pub fn fit_together(
    experiment: &Experiment,
    options: &Options,
    cluster: &Rc<Cluster>,
    console: &mut Console,
) -> Result<Outcome, TrainError> {
    let mut open = || {
        let run = Run::open(
            experiment,
            &options.device,
            options.threads,
            cluster.clone(),
        )?;
        run.check_device(console)?;
        Ok(run)
    };
    let run = cluster.agree(open())?;
    run.compare_ranks()?;
    let mut begin = || match cluster.is_first() {
        true => {
            let folder = RunFolder::open(&options.out, experiment, options.existing)?;
            let (state, notes) = resume::start(&run, &folder, options.existing)?;
            notes.iter().for_each(|note| console.line(note));
            Ok(Some((folder, state)))
        }
        false => Ok(None),
    };
    let (folder, state) = cluster.agree(begin())?.unzip();
    let mut state = cluster.agree(run.share_start(state))?;
    state
        .learner
        .join(cluster, experiment.cluster.sync_batch_norm);
    if state.progress.finished && run.is_done(&state.progress) {
        return Ok(Outcome::Finished);
    }
    cluster.told(train(&run, folder.as_ref(), state, console))
}

/// Opens the records of a run and trains.
fn train(
    run: &Run,
    folder: Option<&RunFolder>,
    state: State,
    console: &mut Console,
) -> Result<Outcome, TrainError> {
    let experiment = run.experiment;
    let lines = run.introduce(&state);
    lines.iter().for_each(|line| console.line(line));
    let (config, keep) = (&experiment.checkpoint, state.progress.metrics_bytes);
    let (journal, lost) = match folder {
        Some(folder) => {
            folder.record(experiment, &run.environment)?;
            Journal::open(folder, config, &run.description, keep)?
        }
        None => (Journal::unwritten(config, &run.description), 0),
    };
    let mut training = Training {
        run,
        folder,
        journal,
        first_step: state.progress.step,
        state,
    };
    if lost > 0 {
        console.line(&format!(
            "resume     metrics.jsonl is {lost} bytes shorter than the checkpoint knows: those lines are lost"
        ));
        // Lines appended now would pass for the lost ones of the checkpoint that counted them.
        training.save()?;
    }
    training.train(console)
}

/// A run under way.
struct Training<'a> {
    run: &'a Run<'a>,
    /// `None`: another rank writes.
    folder: Option<&'a RunFolder>,
    journal: Journal<'a>,
    state: State,
    /// Where this process began.
    first_step: usize,
}

impl Training<'_> {
    fn train(mut self, console: &mut Console) -> Result<Outcome, TrainError> {
        let begin = Instant::now();
        let (run, progress) = (self.run, &self.state.progress);
        let steps = run.batches().div_ceil(run.experiment.train.accumulate);
        let (epochs, first) = (run.total_steps().div_ceil(steps), progress.epochs + 1);
        console.begin(&run.experiment.name, epochs, first, run.interrupter())?;
        let mut first_epoch = true;
        while !self.run.is_done(&self.state.progress) {
            let mut pace = Pace::start(first_epoch);
            first_epoch = false;
            self.train_epoch(console, &mut pace)?;
            self.settle()?;
            let speed = pace.speed();
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
            let progress = &self.state.progress;
            if let Some(speed) = pace.first_estimate() {
                let short = run.sources.shape.height.min(run.sources.shape.width);
                let cost = |epoch| progressive::cost(&train.progressive, epoch, short);
                let each = (progress.step..total).map(|step| cost(step / steps + 1));
                let work = each.sum::<f64>() / cost(progress.epochs + 1);
                let left = work / steps as f64 * images as f64;
                let time = Duration::try_from_secs_f64(left / speed).unwrap_or(Duration::MAX);
                let time = duration(time);
                console.line(&format!(
                    "pace       {speed:.0} images/s: about {time} to go, evaluation not counted"
                ));
            }
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

    fn save(&mut self) -> Result<PathBuf, TrainError> {
        self.settle()?;
        let rate = self.run.rate_used(&self.state);
        self.journal.save(&mut self.state, rate)
    }

    /// Leaves before the end, with everything saved.
    fn stop(&mut self, console: &mut Console) -> Result<Outcome, TrainError> {
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

        let progress = &mut self.state.progress;
        if !evaluated.is_empty() {
            progress.evaluated = progress.step;
        }
        let criterion = self.run.experiment.checkpoint.best_by;
        let value = evaluated.last().map(|last| criterion.of(&last.metrics));
        if let Some(value) = value
            && progress
                .best
                .as_ref()
                .is_none_or(|best| criterion.prefers(value, best.value))
        {
            progress.best = Some(Best {
                value,
                epoch: progress.epochs + 1,
                step: progress.step,
            });
        }
        if progress.batch == self.run.batches() {
            progress.epochs += 1;
            progress.batch = 0;
            progress.tally = Tally::default();
        }
        self.run.compare_weights(&self.state)?;
        self.save()?;
        Ok(())
    }

    /// The end of the run: the best epoch and, where it has not been seen yet, the test set.
    fn conclude(mut self, console: &mut Console, begin: Instant) -> Result<Outcome, TrainError> {
        if let Some(best) = &self.state.progress.best {
            let split = self.run.sources.evaluation_split();
            let caveat = match self.run.experiment.chosen_by() {
                Some("test") => {
                    " (chosen by the test set itself: set data.validation for an unbiased figure)"
                }
                Some(_) => "",
                None => " (the last, no other was evaluated)",
            };
            if self.run.has_stalled(&self.state.progress) {
                let patience = self.run.experiment.train.patience.unwrap_or_default();
                console.line(&format!(
                    "early      stopped: {patience} epochs without a better one"
                ));
            }
            let criterion = self.run.experiment.checkpoint.best_by;
            console.line(&format!(
                "best       epoch {}: {split} {}{caveat}",
                best.epoch,
                criterion.describe(best.value)
            ));
        }
        if !self.test(console)? {
            return self.stop(console);
        }
        self.state.progress.finished = true;
        self.save()?;
        let steps = self.state.progress.step - self.first_step;
        if let Some(line) = self.run.cluster.describe_traffic(steps) {
            console.line(&line);
        }
        if let Some(folder) = self.folder {
            console.line(&format!(
                "done       {} in {}",
                folder.path().display(),
                duration(begin.elapsed())
            ));
        }
        Ok(Outcome::Finished)
    }

    /// The network of the best checkpoint, and whether it is by the moving average.
    fn best(&self) -> Result<(Classifier, bool), TrainError> {
        let run = self.run;
        let found = self.folder.map(|folder| store::best(folder.path()));
        let checkpoint = found.as_deref().map(checkpoint::load).transpose()?;
        let checkpoint = match checkpoint {
            Some(checkpoint) if run.cluster.is_alone() => checkpoint,
            checkpoint => run.cluster.share(checkpoint.as_ref(), &run.description)?,
        };
        let folder = found.unwrap_or_default();
        let classifier = restore(&checkpoint, chosen(&checkpoint), &folder, &run.device)?;
        Ok((classifier, checkpoint.average.is_some()))
    }

    /// Measures the best checkpoint on the test set, unless that is what chose it. False where
    /// interrupted.
    fn test(&mut self, console: &mut Console) -> Result<bool, TrainError> {
        let (Some(test), Some(best)) = (&self.run.sources.test, &self.state.progress.best) else {
            return Ok(true);
        };
        let (classifier, is_average) = self.best()?;
        let start = Instant::now();
        let (device, interrupter) = (&self.run.device, self.run.interrupter());
        console.evaluation("test", test.records());
        let seen = &mut |images| console.evaluated(images);
        let tally = score(&classifier, test.epoch(0, 0), device, interrupter, seen)?;
        console.finish();
        let Some(tally) = tally else {
            return Ok(false);
        };
        let tally = self.run.cluster.sum_tally(tally);
        let line = Line {
            event: "test",
            epoch: best.epoch,
            step: best.step,
            split: "test",
            weights: is_average.then_some(LABEL),
            metrics: tally.metrics(),
            lr: 0.0,
            img_per_s: tally.count as f64 / start.elapsed().as_secs_f64(),
            time: now(),
        };
        self.journal.append(&line)?;
        console.line(&format!(
            "test       {} on {} records, by the best epoch",
            describe(&line.metrics),
            thousands(line.metrics.count as usize)
        ));
        Ok(true)
    }
}
