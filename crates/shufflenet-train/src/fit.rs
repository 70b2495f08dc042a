//! The training loop: from an experiment to a run folder.
//!
//! The model steps through burn-train's `TrainStep` and is stopped through its `Interrupter`. The
//! loop is ours, because burn-train's learner keeps its optimizer to itself, saves only at the end of
//! an epoch (an interrupt leaves before that), and sums its metrics on another thread, where a
//! checkpoint cannot reach them. Here all that changes from step to step is one `State`, and a
//! checkpoint is that state: written after any step, continued exactly.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::Device;
use burn::train::Interrupter;
use shufflenet_data::Batch;
use shufflenet_data::random::step_seed;
use shufflenet_model::{load_safetensors, num_parameters, parameters, to_safetensors};

use crate::checkpoint::{self, Best, Checkpoint, Description, Progress};
use crate::console::{Console, describe, duration, thousands};
use crate::error::TrainError;
use crate::evaluate::{restore, score};
use crate::experiment::Experiment;
use crate::learner::Learner;
use crate::machine::Environment;
use crate::metrics_log::{Line, MetricsLog};
use crate::pace::Pace;
use crate::run_folder::{Existing, RunFolder};
use crate::schedule::Schedule;
use crate::sources::{self, Sources};
use crate::tally::{Metrics, Tally};
use crate::{device, optimizer, preflight};

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

/// All that a step changes.
struct State {
    learner: Learner,
    progress: Progress,
}

/// All that a step does not change.
struct Run<'a> {
    experiment: &'a Experiment,
    sources: Sources,
    description: Description,
    device: Device,
    schedule: Schedule,
    total_steps: usize,
    folder: RunFolder,
    interrupter: &'a Interrupter,
}

/// Trains `experiment`, or goes on where its run folder says.
///
/// Everything that can be refused is refused before the run folder is touched.
///
/// # Errors
/// [`TrainError`]; checkpoints written before stay as they are.
pub fn fit(
    experiment: &Experiment,
    options: &Options,
    interrupter: &Interrupter,
    console: &mut Console,
) -> Result<Outcome, TrainError> {
    let device = device::open(&options.device)?;
    let sources = sources::open(experiment)?;
    let notes = preflight::check(experiment, &sources)?;
    let folder = RunFolder::open(&options.out, experiment, options.existing)?;
    let environment = Environment::here(&options.device, options.threads);
    folder.record(&environment)?;

    let steps_per_epoch = sources.train.batches();
    let train = &experiment.train;
    let all_epochs = steps_per_epoch * train.epochs;
    let total_steps = train.max_steps.unwrap_or(all_epochs).min(all_epochs);
    let peak = experiment.optimizer.learning_rate;
    let run = Run {
        description: Description {
            experiment: experiment.clone(),
            class_names: sources.class_names.clone(),
            input: [
                sources.shape.channels,
                sources.shape.height,
                sources.shape.width,
            ],
            normalization: sources.normalization.clone(),
        },
        schedule: Schedule::new(&experiment.schedule, peak, steps_per_epoch, total_steps),
        experiment,
        sources,
        device,
        total_steps,
        folder,
        interrupter,
    };
    let state = run.start(options.existing, console)?;
    let parameters = num_parameters(&state.learner.classifier.network);
    for line in preflight::introduce(
        experiment,
        &run.sources,
        &environment,
        total_steps,
        parameters,
    ) {
        console.line(&line);
    }
    notes.iter().for_each(|note| console.line(note));
    let log = MetricsLog::open(&run.folder.metrics(), state.progress.metrics_bytes)?;
    run.train(state, log, console)
}

impl Run<'_> {
    /// Fresh weights, or the newest intact checkpoint's.
    fn start(&self, existing: Existing, console: &Console) -> Result<State, TrainError> {
        let seed = self.experiment.train.seed;
        let (model, optimizer) = (&self.experiment.model, &self.experiment.optimizer);
        let mut learner = Learner::new(model, optimizer, seed, &self.device)?;
        let root = self.folder.checkpoints();
        let saved = match existing {
            Existing::Resume => checkpoint::newest(&root)?,
            Existing::Refuse | Existing::Replace => None,
        };
        let Some((saved, damaged)) = saved else {
            if existing == Existing::Resume {
                console.line("resume     nothing is saved yet: starting afresh");
            }
            return Ok(State {
                learner,
                progress: Progress::default(),
            });
        };
        for error in damaged {
            console.line(&format!("resume     passing over {error}"));
        }
        let refuse = |message: String| TrainError::checkpoint(&root, message);
        learner.classifier.network = load_safetensors(learner.classifier.network, &saved.weights)
            .map_err(|error| refuse(error.to_string()))?;
        let names = parameters(&learner.classifier.network);
        learner.optimizer =
            optimizer::load_safetensors(learner.optimizer, &saved.optimizer, &names)
                .map_err(|error| refuse(format!("optimizer state: {error}")))?;
        let progress = saved.progress;
        console.line(&format!(
            "resume     at step {} of {}, epoch {}",
            progress.step,
            self.total_steps,
            progress.epochs + 1
        ));
        Ok(State { learner, progress })
    }

    fn train(
        &self,
        mut state: State,
        mut log: MetricsLog,
        console: &mut Console,
    ) -> Result<Outcome, TrainError> {
        let begin = Instant::now();
        let mut first_epoch = true;
        while state.progress.epochs < self.experiment.train.epochs && !self.is_done(&state) {
            let mut pace = Pace::start(first_epoch);
            first_epoch = false;
            self.train_epoch(&mut state, &mut log, console, &mut pace)?;
            let evaluated = match self.interrupter.should_stop() {
                true => None,
                false => self.evaluate(&state)?,
            };
            let Some(evaluated) = evaluated else {
                let name = self.save(&mut state, &log)?;
                console.line(&format!(
                    "stopped    at step {}, saved as {}; the same command with --resume goes on",
                    state.progress.step,
                    self.folder.checkpoints().join(name).display()
                ));
                return Ok(Outcome::Interrupted);
            };
            self.end_epoch(&mut state, &mut log, console, pace.speed(), evaluated)?;
        }
        self.conclude(&state, &mut log, console, begin.elapsed())?;
        Ok(Outcome::Finished)
    }

    fn is_done(&self, state: &State) -> bool {
        state.progress.step >= self.total_steps && state.progress.batch == 0
    }

    /// The steps that are left of the epoch under way, until it ends, the run's last step is taken
    /// or a stop is asked for.
    fn train_epoch(
        &self,
        state: &mut State,
        log: &mut MetricsLog,
        console: &mut Console,
        pace: &mut Pace,
    ) -> Result<(), TrainError> {
        let epoch = state.progress.epochs + 1;
        let batches = self.sources.train.batches();
        let title = format!("epoch {epoch}/{}", self.experiment.train.epochs);
        console.start(&title, batches, state.progress.batch);
        for batch in self.sources.train.epoch(epoch as u64, state.progress.batch) {
            if self.interrupter.should_stop() || state.progress.step >= self.total_steps {
                break;
            }
            pace.add(self.step(state, batch)?);
            let (progress, rate) = (&state.progress, self.rate_used(state));
            if let Some(speed) = pace.first_estimate() {
                let left = (self.total_steps - progress.step) * self.experiment.train.batch_size;
                let time = duration(Duration::from_secs_f64(left as f64 / speed));
                console.line(&format!(
                    "pace       {speed:.0} images/s: about {time} to go, evaluation not counted"
                ));
            }
            console.advance(|| {
                let metrics = progress.tally.metrics();
                format!("{}, {:.0} img/s", describe(&metrics), pace.speed())
            });
            let every = |interval: usize| interval > 0 && progress.step.is_multiple_of(interval);
            let (to_log, to_save) = (
                every(self.experiment.train.log_every),
                every(self.experiment.checkpoint.every_steps),
            );
            if to_log {
                let metrics = progress.tally.metrics();
                let speed = pace.speed();
                log.append(&self.line("step", progress, "train", metrics, rate, speed))?;
                if !console.is_terminal() {
                    console.line(&format!(
                        "  step {}/{}  {}, lr {rate:.4}, {speed:.0} img/s",
                        progress.step,
                        self.total_steps,
                        describe(&metrics)
                    ));
                }
            }
            if to_save {
                self.save(state, log)?;
            }
        }
        console.finish();
        Ok(())
    }

    /// One optimizer step. Returns how many images it took.
    fn step(&self, state: &mut State, batch: Batch) -> Result<usize, TrainError> {
        let progress = &mut state.progress;
        let rate = self.schedule.rate(progress.step);
        if self.experiment.model.dropout > 0.0 {
            let seed = step_seed(self.experiment.train.seed, progress.step as u64);
            self.device.seed(seed);
        }
        let images = batch.len();
        let batch = state.learner.step(batch, rate)?;
        if !batch.loss.is_finite() {
            return Err(TrainError::Diverged {
                loss: batch.metrics().loss,
                step: progress.step,
                epoch: progress.epochs + 1,
                lr: rate,
            });
        }
        progress.tally.merge(&batch);
        progress.step += 1;
        progress.batch += 1;
        Ok(images)
    }

    /// The rate of the step last taken.
    fn rate_used(&self, state: &State) -> f64 {
        self.schedule.rate(state.progress.step.saturating_sub(1))
    }

    /// The network as it stands, over the records that choose the best epoch; with images per second.
    fn evaluate(&self, state: &State) -> Result<Option<(Metrics, f64)>, TrainError> {
        let start = Instant::now();
        let classifier = state.learner.classifier.valid();
        let loader = &self.sources.evaluation;
        let tally = score(&classifier, loader, &self.device, self.interrupter)?;
        Ok(tally.map(|tally| {
            let speed = tally.count as f64 / start.elapsed().as_secs_f64();
            (tally.metrics(), speed)
        }))
    }

    /// Reports the epoch, remembers it where it is the best, saves.
    fn end_epoch(
        &self,
        state: &mut State,
        log: &mut MetricsLog,
        console: &Console,
        train_speed: f64,
        (evaluated, speed): (Metrics, f64),
    ) -> Result<(), TrainError> {
        let rate = self.rate_used(state);
        let split = self.sources.evaluation_split();
        let trained = state.progress.tally.metrics();
        let at = &state.progress;
        log.append(&self.line("epoch", at, "train", trained, rate, train_speed))?;
        log.append(&self.line("epoch", at, split, evaluated, rate, speed))?;
        console.line(&format!(
            "epoch {}/{}  train: {}  {split}: {}  lr {rate:.4}, {train_speed:.0} img/s",
            at.epochs + 1,
            self.experiment.train.epochs,
            describe(&trained),
            describe(&evaluated),
        ));
        let progress = &mut state.progress;
        progress.epochs += 1;
        progress.batch = 0;
        progress.tally = Tally::default();
        let is_best = progress
            .best
            .as_ref()
            .is_none_or(|best| evaluated.top1 > best.top1);
        if is_best {
            progress.best = Some(Best {
                top1: evaluated.top1,
                epoch: progress.epochs,
                step: progress.step,
            });
        }
        let name = self.save(state, log)?;
        if is_best {
            checkpoint::link(&self.folder.checkpoints(), "best", &name)?;
        }
        Ok(())
    }

    fn save(&self, state: &mut State, log: &MetricsLog) -> Result<String, TrainError> {
        state.progress.metrics_bytes = log.sync()?;
        let network = &state.learner.classifier.network;
        let encode = |what: &'static str, message: String| TrainError::Encode { what, message };
        let names = parameters(network);
        let checkpoint = Checkpoint {
            weights: to_safetensors(network)
                .map_err(|error| encode("the weights", error.to_string()))?,
            optimizer: optimizer::to_safetensors(&state.learner.optimizer, &names)
                .map_err(|error| encode("the optimizer's state", error))?,
            progress: state.progress.clone(),
            description: self.description.clone(),
        };
        let root = self.folder.checkpoints();
        let name = checkpoint::save(&root, &checkpoint)?;
        checkpoint::prune(&root, self.experiment.checkpoint.keep);
        Ok(name)
    }

    /// The end of the run: the best epoch and, where it has not been seen yet, the test set.
    fn conclude(
        &self,
        state: &State,
        log: &mut MetricsLog,
        console: &Console,
        time: Duration,
    ) -> Result<(), TrainError> {
        let Some(best) = &state.progress.best else {
            return Ok(());
        };
        let split = self.sources.evaluation_split();
        let caveat = match split {
            "test" => {
                " (chosen by the test set itself: set data.validation for an unbiased figure)"
            }
            _ => "",
        };
        console.line(&format!(
            "best       epoch {}: {split} top-1 {:.2} %{caveat}",
            best.epoch,
            best.top1 * 100.0
        ));
        if let Some(test) = &self.sources.test {
            let folder = checkpoint::best(self.folder.path());
            let checkpoint = checkpoint::load(&folder)?;
            let classifier = restore(&checkpoint, &folder, &self.device)?;
            let start = Instant::now();
            if let Some(tally) = score(&classifier, test, &self.device, self.interrupter)? {
                let metrics = tally.metrics();
                let speed = tally.count as f64 / start.elapsed().as_secs_f64();
                let at = &checkpoint.progress;
                log.append(&self.line("test", at, "test", metrics, 0.0, speed))?;
                console.line(&format!(
                    "test       {} on {} records, by the best epoch",
                    describe(&metrics),
                    thousands(metrics.count as usize)
                ));
            }
        }
        console.line(&format!(
            "done       {} in {}",
            self.folder.path().display(),
            duration(time)
        ));
        Ok(())
    }

    fn line<'a>(
        &self,
        event: &'a str,
        progress: &Progress,
        split: &'a str,
        metrics: Metrics,
        lr: f64,
        img_per_s: f64,
    ) -> Line<'a> {
        // A checkpoint taken after an epoch's end counts that epoch as finished.
        let under_way = usize::from(event != "test");
        Line {
            event,
            epoch: progress.epochs + under_way,
            step: progress.step,
            split,
            metrics,
            lr,
            img_per_s,
        }
    }
}
