//! An experiment opened: all that a step of training does not change, and the step itself.

use std::rc::Rc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use shufflenet_data::{Batch, Batches, random};

use crate::average::LABEL;
use crate::checkpoint::{Best, Description, Progress};
use crate::classifier::Classifier;
use crate::cluster::Cluster;
use crate::console::Console;
use crate::error::TrainError;
use crate::evaluate::score;
use crate::experiment::Experiment;
use crate::learner::{MicroBatch, Stepped};
use crate::machine::Environment;
use crate::optimizer::Rates;
use crate::schedule::Schedule;
use crate::sources::{self, Sources};
use crate::state::State;
use crate::tally::{Metrics, Tally};
use crate::{Interrupter, device, preflight, progressive, self_check};

/// Nothing else is heard of a GPU for a while.
const TUNING: &str =
    "tuning     the first steps try out kernels for each shape of tensor, which may take minutes";

/// What stays the same from step to step.
pub struct Run<'a> {
    /// What is trained, and how.
    pub experiment: &'a Experiment,
    /// The data.
    pub sources: Sources,
    /// What checkpoints say of their weights.
    pub description: Description,
    /// Where tensors live.
    pub device: Device,
    /// The learning rate, and the last step.
    pub schedule: Schedule,
    /// The machine.
    pub environment: Environment,
    /// Who trains with this process.
    pub cluster: Rc<Cluster>,
    notes: Vec<String>,
}

/// A measurement of the weights or of their average.
pub struct Evaluation {
    /// `ema` where it is of the average.
    pub weights: Option<&'static str>,
    /// What was measured.
    pub metrics: Metrics,
    /// Images per second.
    pub speed: f64,
}

impl<'a> Run<'a> {
    /// Opens device and data. What can be refused of the experiment itself is refused here.
    ///
    /// # Errors
    /// [`TrainError`] of the device, the data, or the network.
    pub fn open(
        experiment: &'a Experiment,
        device_name: &str,
        threads: usize,
        cluster: Rc<Cluster>,
    ) -> Result<Self, TrainError> {
        let device_name = &cluster.device(device_name);
        let device = device::open(device_name)?;
        let sources = sources::open(experiment)?.shared(cluster.rank(), cluster.ranks());
        let schedule = Schedule::of(experiment, sources.train.batches());
        preflight::check_cluster(experiment, &sources, &cluster)?;
        let notes = preflight::check(experiment, &sources, &schedule)?;
        let shape = sources.shape;
        Ok(Self {
            description: Description {
                experiment: experiment.clone(),
                data_sha256: sources.sha256.clone(),
                class_names: sources.class_names.clone(),
                input: [shape.channels, shape.height, shape.width],
                normalization: sources.normalization.clone(),
            },
            schedule,
            environment: Environment::here(device_name, &device, threads, cluster.ranks()),
            experiment,
            sources,
            device,
            cluster,
            notes,
        })
    }

    /// Refuses a GPU that computes wrongly ([`self_check`]), and says what it does meanwhile. The CPU is
    /// what a GPU is held to.
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

    /// What asks to stop.
    pub fn interrupter(&self) -> &Interrupter {
        self.cluster.interrupter()
    }

    /// Batches of an epoch.
    pub fn batches(&self) -> usize {
        self.sources.train.batches()
    }

    /// Optimizer steps in all.
    pub fn total_steps(&self) -> usize {
        self.schedule.total()
    }

    /// Whether the last step is taken, for the run's length or `train.patience`, and evaluated.
    pub fn is_done(&self, progress: &Progress) -> bool {
        let is_last = progress.step >= self.total_steps() || self.has_stalled(progress);
        is_last && progress.evaluated == progress.step
    }

    /// Whether the epoch that has just been trained, to its end or the run's, is to be evaluated
    /// (`train.evaluate_every`).
    pub fn is_evaluated(&self, progress: &Progress) -> bool {
        let every = self.experiment.train.evaluate_every;
        let is_last = progress.step >= self.total_steps();
        is_last || (every > 0 && (progress.epochs + 1).is_multiple_of(every))
    }

    /// Whether the best epoch is `train.patience` epochs ago.
    pub fn has_stalled(&self, progress: &Progress) -> bool {
        let (patience, best) = (self.experiment.train.patience, progress.best.as_ref());
        let stalls = |(patience, best): (usize, &Best)| progress.epochs >= best.epoch + patience;
        patience.zip(best).is_some_and(stalls)
    }

    /// What will be trained, on what, how; and what may surprise.
    pub fn introduce(&self, state: &State) -> Vec<String> {
        let (experiment, sources) = (self.experiment, &self.sources);
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

    /// One optimizer step on the next of [`Self::rest_of_epoch`]. Returns how many images it took, or what
    /// is no longer a number.
    ///
    /// # Errors
    /// [`TrainError::Device`], [`TrainError::Data`].
    pub fn step(
        &self,
        state: &mut State,
        batches: &mut Batches,
    ) -> Result<Result<usize, &'static str>, TrainError> {
        let rates = self.rates(state.progress.step);
        self.step_at(state, batches, rates)
    }

    /// The same at other rates than the schedule's.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_at(
        &self,
        state: &mut State,
        batches: &mut Batches,
        rates: Rates,
    ) -> Result<Result<usize, &'static str>, TrainError> {
        let train = &self.experiment.train;
        let progress = &state.progress;
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
                batch,
            })
        });
        let stepped = state.learner.step(parts, rates)?;
        if let Err(what) = tally(state, stepped) {
            return Ok(Err(what));
        }
        let progress = &mut state.progress;
        progress.step += 1;
        progress.batch = taken.end;
        progress.finished = false;
        Ok(Ok(images))
    }

    /// Counts what a GPU still holds of the steps taken, so that metrics and checkpoints are of all of them.
    /// Returns what is no longer a number, where something is not.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn settle(&self, state: &mut State) -> Result<Result<(), &'static str>, TrainError> {
        let stepped = state.learner.settle()?;
        Ok(tally(state, stepped))
    }

    /// What dropout does to micro-batch `part` of a step.
    fn mask(&self, step: usize, part: usize, batch: &Batch) -> Option<Vec<f32>> {
        let model = &self.experiment.model;
        let [.., features] = model.widths();
        let (seed, rate) = (self.experiment.train.seed, model.dropout);
        let (first, count) = (batch.share.as_ref().map_or(0, |s| s.first), batch.len());
        let draw = || {
            let whole = batch.whole() * features;
            let mask = random::dropout(seed, step as u64, part as u64, rate, whole);
            let own = mask.into_iter().skip(first * features);
            own.take(count * features).collect()
        };
        (rate > 0.0).then(draw)
    }

    /// What the optimizer step with this index, from 0, is taken at.
    pub fn rates(&self, step: usize) -> Rates {
        Rates {
            learning_rate: self.schedule.rate(step),
            momentum: self.schedule.momentum(step),
        }
    }

    /// The rate of the step last taken.
    pub fn rate_used(&self, state: &State) -> f64 {
        self.schedule.rate(state.progress.step.saturating_sub(1))
    }

    /// The weights as they stand and then, where there is one, their average, over all that `batches`
    /// makes: the last one is what chooses the best epoch. `None` where interrupted.
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
                self.sources.evaluation_split(),
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

/// Adds the images that were read to the epoch's.
fn tally(state: &mut State, stepped: Stepped) -> Result<(), &'static str> {
    match stepped {
        Stepped::Taken(tally) => {
            state.progress.tally.merge(&tally);
            Ok(())
        }
        Stepped::Diverged(what) => Err(what),
    }
}
