//! From an experiment to a run folder: everything is opened, compared and refused before the first step.
//!
//! The model steps through burn-train's `TrainStep` and is stopped through its `Interrupter`. The
//! loop (`training.rs`) is ours, because burn-train's learner keeps its optimizer to itself, saves only
//! at the end of an epoch (an interrupt leaves before that), and sums its metrics on another thread, where a
//! checkpoint cannot reach them. Here all that changes from step to step is one [`State`], and a
//! checkpoint is that state: written after any step, continued exactly.

use std::path::PathBuf;
use std::rc::Rc;

use crate::cluster::Cluster;
use crate::console::Console;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::journal::Journal;
use crate::run::Run;
use crate::run_folder::{Existing, RunFolder};
use crate::state::State;
use crate::training::Training;
use crate::{Interrupter, resume};

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
