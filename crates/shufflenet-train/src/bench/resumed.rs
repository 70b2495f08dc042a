//! `shufflenet bench train --checkpoint`: times a run's next steps, on its weights, its optimizer's state and its images.
//!
//! A long training may change the speed: channels become zero, and momentum and activations become small. A benchmark on
//! noise with initial weights does not show this. Here a step is the run's own ([`Run::step`]), and the run's loader makes
//! the batches at the same time. Nothing is saved.

use std::path::PathBuf;
use std::rc::Rc;

use shufflenet_model::num_parameters;

use super::enqueued::Clock;
use super::timing::report;
use super::{TOGETHER, Timing, Workload, teaching, time};
use crate::Interrupter;
use crate::checkpoint::store;
use crate::checkpoint::{self, MANIFEST};
use crate::cluster::Cluster;
use crate::error::TrainError;
use crate::recipe::progressive;
use crate::run::context::Run;
use crate::step::state::State;

/// The run to time, and the number of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Resumed {
    /// A run folder (its last checkpoint) or a checkpoint's folder.
    pub checkpoint: PathBuf,
    /// Where the data is. `None`: where the run had it.
    pub data: Option<PathBuf>,
    /// Device name.
    pub device: String,
    /// Steps that are timed.
    pub steps: usize,
    /// Steps before these that are not timed.
    pub warm_up: usize,
}

/// Times the next steps of the run. A finished run continues at the rate of its last step.
///
/// # Errors
/// The errors of resuming the run; [`TrainError::Diverged`].
pub fn train(resumed: &Resumed) -> Result<Timing, TrainError> {
    let last = store::last(&resumed.checkpoint);
    let folder = match last.join(MANIFEST).is_file() {
        true => last,
        false => store::locate(&resumed.checkpoint)?.folder,
    };
    if store::run_of(&folder).is_none() {
        let message = "is not a checkpoint of a run, so there are no next steps to time";
        return Err(TrainError::checkpoint(&folder, message));
    }
    let saved = checkpoint::load(&folder)?;
    let mut experiment = saved.description.experiment.clone();
    if let Some(root) = &resumed.data {
        experiment.data.root = root.clone();
    }
    let cluster = Rc::new(Cluster::alone(&Interrupter::new()));
    let threads = rayon::current_num_threads();
    let run = Run::open(&experiment, &resumed.device, threads, cluster)?;
    let mut state = State::restore(&run.experiment, &run.device, &run.cluster, &saved)
        .map_err(|message| TrainError::checkpoint(&folder, message))?;
    let parameters = num_parameters(&state.learner.classifier.network);
    let start = state.progress.clone();

    let together = match state.learner.may_wait() {
        true => TOGETHER,
        false => 1,
    };
    let mut batches = run.rest_of_epoch(&state);
    let mut step = |state: &mut State| {
        if batches.len() == 0 {
            batches = run.next_epoch(state);
        }
        let last_step = run.total_steps().saturating_sub(1);
        let rates = run.rates(state.progress.step.min(last_step));
        run.step(state, &mut batches, rates).map(drop)
    };
    let mut clock = Clock::default();
    let times = time(resumed.warm_up, resumed.steps, together, || {
        for _ in 0..together {
            clock.time(|| step(&mut state))?;
        }
        run.settle(&mut state)
    })?;
    let enqueued = match state.learner.may_wait() {
        true => Some(clock.read(resumed.warm_up * together, &run.device, || step(&mut state))?),
        false => None,
    };

    let shape = run.sources.shape;
    let short = shape.height.min(shape.width);
    let size = progressive::size_in(&experiment.train.progressive, start.epochs + 1);
    let size = size.unwrap_or(short).min(short);
    let workload = Workload {
        batch: experiment.train.batch_size * experiment.train.accumulate,
        size: [shape.height, shape.width].map(|side| side * size / short),
        precision: experiment.train.precision,
        ..Workload::new(experiment.model.clone(), &resumed.device)
    };
    let batches = experiment.train.accumulate;
    let single = Workload {
        batch: experiment.train.batch_size,
        steps: resumed.steps,
        warm_up: resumed.warm_up,
        ..workload.clone()
    };
    let measure = |teacher: &Rc<_>| teaching::measure(teacher, &single, batches, &run.device);
    let teacher = run.teacher_in(start.epochs + 1);
    let teaching = teacher.as_ref().map(measure).transpose()?;
    let report = report("train", &workload, parameters, times);
    Ok(Timing {
        subject: format!(
            "{}, {} after step {} of {}",
            experiment.model.in_words(None),
            run.sources.name,
            start.step,
            run.total_steps()
        ),
        enqueued,
        teaching,
        ..report
    })
}
