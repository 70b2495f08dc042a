//! An open experiment: the part of a run that training steps do not change.
//!
//! Other files have its methods: `step.rs` takes a step, `progress.rs` knows what is due, `evaluate.rs` measures.

use std::rc::Rc;

use burn::tensor::Device;

use crate::checkpoint::description::{ChosenOn, Description};
use crate::cluster::Cluster;
use crate::data::sources::{self, Sources};
use crate::device::machine::Environment;
use crate::device::self_check;
use crate::display::console::Console;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::experiment::compare::PRECISION;
use crate::recipe::schedule::Schedule;
use crate::run::preflight;
use crate::step::distill;
use crate::step::state::State;
use crate::step::teacher::Teacher;
use crate::{Interrupter, device};

/// Printed before the first steps on a GPU, which may take minutes.
const TUNING: &str =
    "tuning     the first steps try out kernels for each shape of tensor, which may take minutes";

/// An open experiment.
pub struct Run {
    /// The experiment. Classes, channels and balanced class weights are filled in from the data. (The description has the
    /// experiment as it is stored, with the word `balanced`.)
    pub experiment: Experiment,
    /// The data.
    pub sources: Sources,
    /// Description in every checkpoint of the run.
    pub description: Description,
    /// Device of the tensors.
    pub device: Device,
    /// Learning rate by step, and the number of steps.
    pub schedule: Schedule,
    /// The machine, which is recorded in the run folder.
    pub environment: Environment,
    /// The processes that train together.
    pub cluster: Rc<Cluster>,
    teacher: Option<Rc<Teacher>>,
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
            environment: Environment::here(
                device_name,
                &device,
                threads,
                cluster.ranks(),
                sources.train.records(),
            ),
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

    /// The network that teaches this one in `epoch`, counted from 1. `None`: only the labels do.
    pub fn teacher_in(&self, epoch: usize) -> Option<Rc<Teacher>> {
        let distill = self.experiment.distill.as_ref()?;
        let teacher = self.teacher.as_ref()?;
        (epoch > distill.after_epoch).then(|| Rc::clone(teacher))
    }

    /// The interrupter that stops the run.
    pub fn interrupter(&self) -> &Interrupter {
        self.cluster.interrupter()
    }

    /// Lines that describe the run, and notes on unexpected facts.
    pub fn introduce(&self, state: &State) -> Vec<String> {
        let (experiment, sources) = (&self.experiment, &self.sources);
        let network = &state.learner.classifier.network;
        let (environment, steps) = (&self.environment, self.total_steps());
        let mut lines = preflight::introduce(experiment, sources, environment, steps, network);
        lines.extend(self.cluster.describe(&experiment.cluster));
        lines.extend(self.notes.iter().cloned());
        lines
    }
}

/// The part of the data that chooses the best epoch, if any does.
fn chosen_on(experiment: &Experiment, sources: &Sources) -> Option<ChosenOn> {
    (experiment.train.evaluate_every > 0).then(|| ChosenOn {
        split: sources.evaluation_split.into(),
        sha256: sources::sha256([Some(sources.evaluation.dataset())]),
    })
}
