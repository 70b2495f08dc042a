//! An open experiment: all that a step of training does not change, and the step.

use std::rc::Rc;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::Device;
use shufflenet_data::{Batch, Batches};

use crate::checkpoint::description::{ChosenOn, Description};
use crate::checkpoint::{Best, Progress};
use crate::cluster::Cluster;
use crate::data::sources::{self, Sources};
use crate::device::machine::Environment;
use crate::device::self_check;
use crate::display::console::Console;
use crate::display::epoch::Epoch;
use crate::display::words::duration;
use crate::divergence::Place;
use crate::error::TrainError;
use crate::evaluation::score;
use crate::evaluation::tally::{Evaluation, Tally};
use crate::experiment::Experiment;
use crate::experiment::compare::PRECISION;
use crate::recipe::average::LABEL;
use crate::recipe::dropout;
use crate::recipe::optimizer::Rates;
use crate::recipe::progressive;
use crate::recipe::schedule::Schedule;
use crate::run::preflight;
use crate::step::classifier::{Classifier, MicroBatch};
use crate::step::distill;
use crate::step::state::State;
use crate::step::teacher::Teacher;
use crate::{Interrupter, device};

/// Printed before the first steps on a GPU, which may take minutes.
const TUNING: &str =
    "tuning     the first steps try out kernels for each shape of tensor, which may take minutes";

/// An open experiment.
pub struct Run {
    /// The experiment, with the network's classes and channels and the weights of balanced classes filled in from the
    /// data. The description has it as it is written down, balanced classes by that word.
    pub experiment: Experiment,
    /// The data.
    pub sources: Sources,
    /// Description that every checkpoint carries.
    pub description: Description,
    /// Device of the tensors.
    pub device: Device,
    /// Learning rate by step, and the number of steps.
    pub schedule: Schedule,
    /// The machine, for the record.
    pub environment: Environment,
    /// The processes that train together.
    pub cluster: Rc<Cluster>,
    /// The network that teaches this one. `None`: only the labels do.
    pub teacher: Option<Rc<Teacher>>,
    notes: Vec<String>,
}

impl Run {
    /// Opens device, data and teacher, and refuses an experiment that cannot work.
    ///
    /// # Errors
    /// [`TrainError`] of the device, the data, the network, or the teacher.
    pub fn open(
        experiment: &Experiment,
        device_name: &str,
        threads: usize,
        cluster: Rc<Cluster>,
    ) -> Result<Self, TrainError> {
        let device_name = &cluster.device(device_name);
        let device = device::open(device_name)?;
        device::require_precision(PRECISION, experiment.train.precision, &device)?;
        let sources = sources::open(experiment)?.shared(cluster.rank(), cluster.ranks());
        let written = Experiment {
            model: sources.model.clone(),
            ..experiment.clone()
        };
        let experiment = Experiment {
            loss: sources.loss.clone(),
            ..written.clone()
        };
        let schedule = experiment.schedule(sources.train.batches());
        preflight::check_cluster(&experiment, &sources, &cluster)?;
        let mut notes = preflight::check(&experiment, &sources, &schedule)?;
        notes.extend(preflight::without_kernels(&experiment, &device, &cluster));
        let shape = sources.shape;
        let mut description = Description {
            experiment: written,
            data_sha256: sources.sha256.clone(),
            class_names: sources.class_names.clone(),
            unnamed: false,
            chosen_on: chosen_on(&experiment, &sources),
            teachers_sha256: Vec::new(),
            input: [shape.channels, shape.height, shape.width],
            normalization: sources.normalization.clone(),
        };
        let teacher = distill::open(&description, &device)?.map(|opened| {
            description.teachers_sha256 = opened.sha256;
            notes.splice(..0, opened.lines);
            Rc::new(opened.teacher)
        });
        Ok(Self {
            description,
            teacher,
            schedule,
            environment: Environment::here(device_name, &device, threads, cluster.ranks()),
            experiment,
            sources,
            device,
            cluster,
            notes,
        })
    }

    /// Refuses a GPU whose training steps differ from the CPU's ([`self_check`]), and prints the result.
    ///
    /// # Errors
    /// [`TrainError::WrongDevice`], [`TrainError::Device`].
    pub fn check_device(&self, console: &mut Console) -> Result<(), TrainError> {
        if !device::is_queued(&self.device) {
            return Ok(());
        }
        if cfg!(feature = "tuned") {
            console.line(TUNING);
        }
        let passed = self_check::check(&self.device, &self.environment.device_in_words())?;
        console.line(&format!("self-check {passed}"));
        Ok(())
    }

    /// The interrupter that stops the run.
    pub fn interrupter(&self) -> &Interrupter {
        self.cluster.interrupter()
    }

    /// Batches of an epoch.
    pub fn batches(&self) -> usize {
        self.sources.train.batches()
    }

    /// Optimizer steps of an epoch.
    pub fn steps_in_epoch(&self) -> usize {
        self.batches().div_ceil(self.experiment.train.accumulate)
    }

    /// Epochs of the run, the last one perhaps cut short.
    pub fn epochs(&self) -> usize {
        self.total_steps().div_ceil(self.steps_in_epoch())
    }

    /// The epoch in progress, for the console.
    pub fn epoch(&self, progress: &Progress) -> Epoch {
        Epoch {
            number: progress.epochs + 1,
            of: self.experiment.train.epochs,
            images: self.sources.train.records_in(0..self.batches()),
            steps: self.steps_in_epoch(),
            done: progress.batch / self.experiment.train.accumulate,
        }
    }

    /// Optimizer steps in all.
    pub fn total_steps(&self) -> usize {
        self.schedule.total()
    }

    /// Whether training is over, by the run's length or `train.patience`, and the last step was evaluated.
    pub fn is_done(&self, progress: &Progress) -> bool {
        let is_last = progress.step >= self.total_steps() || self.has_stalled(progress);
        is_last && progress.evaluated == progress.step
    }

    /// Whether `train.evaluate_every` has the epoch that was just trained evaluated.
    pub fn is_evaluated(&self, progress: &Progress) -> bool {
        let every = self.experiment.train.evaluate_every;
        let is_last = progress.step >= self.total_steps();
        is_last || (every > 0 && (progress.epochs + 1).is_multiple_of(every))
    }

    /// Whether `train.patience` epochs have passed since the best one.
    pub fn has_stalled(&self, progress: &Progress) -> bool {
        let (patience, best) = (self.experiment.train.patience, progress.best.as_ref());
        let stalls = |(patience, best): (usize, &Best)| progress.epochs >= best.epoch + patience;
        patience.zip(best).is_some_and(stalls)
    }

    /// Lines that describe the run, and notes on what may surprise.
    pub fn introduce(&self, state: &State) -> Vec<String> {
        let (experiment, sources) = (&self.experiment, &self.sources);
        let network = &state.learner.classifier.network;
        let (environment, steps) = (&self.environment, self.total_steps());
        let mut lines = preflight::introduce(experiment, sources, environment, steps, network);
        lines.extend(self.cluster.describe(&experiment.cluster));
        lines.extend(self.notes.iter().cloned());
        lines
    }

    /// The batches that are left of the epoch under way.
    pub fn rest_of_epoch(&self, state: &State) -> Batches {
        let progress = &state.progress;
        let epoch = progress.epochs as u64 + 1;
        self.sources.train.epoch(epoch, progress.batch)
    }

    /// Ends the epoch under way, unevaluated. Returns the batches of the next one.
    pub fn next_epoch(&self, state: &mut State) -> Batches {
        state.progress.epochs += 1;
        state.progress.batch = 0;
        state.progress.tally = Tally::default();
        self.rest_of_epoch(state)
    }

    /// One optimizer step at these rates on the next batches of [`Self::rest_of_epoch`]. Returns how many images it
    /// took.
    ///
    /// # Errors
    /// [`TrainError::Diverged`], [`TrainError::Device`], [`TrainError::Data`].
    pub fn step(
        &self,
        state: &mut State,
        batches: &mut Batches,
        rates: Rates,
    ) -> Result<usize, TrainError> {
        let train = &self.experiment.train;
        let progress = &mut state.progress;
        let count = train.accumulate.min(batches.len());
        let taken = progress.batch..progress.batch + count;
        let images = self.sources.train.records_in(taken.clone());
        let step = progress.step;
        let size = progressive::size_in(&train.progressive, progress.epochs + 1);
        let parts = batches.take(count).enumerate().map(|(part, batch)| {
            let batch = batch?;
            Ok(MicroBatch {
                share: batch.whole() as f64 / images as f64,
                size,
                mask: self.mask(step, part, &batch),
                teacher: self.teacher.clone(),
                batch,
            })
        });
        let stepped = state.learner.step(parts, rates);
        let tally = stepped.map_err(|error| error.at(self.place(progress)))?;
        progress.tally.merge(&tally);
        progress.step += 1;
        progress.batch = taken.end;
        progress.finished = false;
        Ok(images)
    }

    /// Counts the images that a GPU still computes, so that metrics and checkpoints are of every step taken.
    ///
    /// # Errors
    /// [`TrainError::Diverged`], [`TrainError::Device`].
    pub fn settle(&self, state: &mut State) -> Result<(), TrainError> {
        let settled = state.learner.settle();
        let tally = settled.map_err(|error| error.at(self.place(&state.progress)))?;
        state.progress.tally.merge(&tally);
        Ok(())
    }

    /// The current place of the run, for a divergence.
    pub fn place(&self, progress: &Progress) -> Place {
        Place {
            step: progress.step,
            epoch: progress.epochs + 1,
            rate: self.schedule.rate(progress.step),
            last: None,
        }
    }

    /// Dropout's factors for micro-batch `part` of a step. `None`: no dropout.
    fn mask(&self, step: usize, part: usize, batch: &Batch) -> Option<Vec<f32>> {
        let model = &self.experiment.model;
        let features = model.widths().last;
        let (seed, rate) = (self.experiment.train.seed, model.dropout);
        let (first, count) = (batch.share.as_ref().map_or(0, |s| s.first), batch.len());
        let draw = || {
            let whole = batch.whole() * features;
            let mask = dropout::mask(seed, step as u64, part as u64, rate, whole);
            let own = mask.into_iter().skip(first * features);
            own.take(count * features).collect()
        };
        (rate > 0.0).then(draw)
    }

    /// Learning rate and momentum of the optimizer step with this index, from 0.
    pub fn rates(&self, step: usize) -> Rates {
        Rates {
            learning_rate: self.schedule.rate(step),
            momentum: self.schedule.momentum(step),
        }
    }

    /// The rate of the step last taken.
    pub fn rate_used(&self, progress: &Progress) -> f64 {
        self.schedule.rate(progress.step.saturating_sub(1))
    }

    /// A line on how long the steps that are left take at `speed`, images of the epoch under way a second.
    pub fn estimate(&self, progress: &Progress, speed: f64) -> String {
        let (stages, shape) = (&self.experiment.train.progressive, self.sources.shape);
        let short = shape.height.min(shape.width);
        let cost = |epoch| progressive::cost(stages, epoch, short);
        let steps = self.steps_in_epoch();
        let each = (progress.step..self.total_steps()).map(|step| cost(step / steps + 1));
        let epochs = each.sum::<f64>() / cost(progress.epochs + 1) / steps as f64;
        let images = self.sources.train.records_in(0..self.batches());
        let left = Duration::try_from_secs_f64(epochs * images as f64 / speed);
        let left = duration(left.unwrap_or(Duration::MAX));
        format!("pace       {speed:.0} images/s: about {left} to go, evaluation not counted")
    }

    /// Measures the current weights and then, where there is one, their moving average on `batches`. The last
    /// measurement chooses the best epoch. `None`: interrupted.
    ///
    /// # Errors
    /// [`TrainError::Device`], [`TrainError::Data`].
    pub fn evaluate(
        &self,
        state: &State,
        batches: impl Fn() -> Batches,
        console: &mut Console,
    ) -> Result<Option<Vec<Evaluation>>, TrainError> {
        let learner = &state.learner;
        let mut classifiers = vec![(None, learner.classifier.valid())];
        if let Some(network) = learner.average.clone() {
            classifiers.push((Some(LABEL), Classifier { network }));
        }
        let mut evaluations = Vec::new();
        for (weights, classifier) in classifiers {
            let start = Instant::now();
            console.evaluation(
                self.sources.evaluation_split,
                self.sources.evaluation.records(),
            );
            let seen = &mut |images| console.evaluated(images);
            let tally = score(
                &classifier,
                batches(),
                &self.device,
                self.interrupter(),
                seen,
            )?;
            console.finish();
            let Some(tally) = tally else { return Ok(None) };
            let tally = self.cluster.sum_tally(tally);
            evaluations.push(Evaluation {
                weights,
                metrics: tally.metrics(),
                speed: tally.count as f64 / start.elapsed().as_secs_f64(),
            });
        }
        console.measured(&evaluations);
        Ok(Some(evaluations))
    }
}

/// The part of the data that chooses the best epoch, if any does.
fn chosen_on(experiment: &Experiment, sources: &Sources) -> Option<ChosenOn> {
    (experiment.train.evaluate_every > 0).then(|| ChosenOn {
        split: sources.evaluation_split.into(),
        sha256: sources::sha256([Some(sources.evaluation.dataset())]),
    })
}
