//! Starts a run: opens device, data and run folder, checks whether they fit a resumed run, and trains.

use std::path::PathBuf;
use std::rc::Rc;

use crate::checkpoint::{self, store};
use crate::cluster::Cluster;
use crate::display::console::Console;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::experiment::compare::PRECISION;
use crate::run::context::Run;
use crate::run::folder::{Existing, RunFolder};
use crate::run::image_list;
use crate::run::journal::Journal;
use crate::run::resume;
use crate::run::training_loop::{Outcome, Training};
use crate::step::state::State;
use crate::{Interrupter, device};

/// Device, folder and other options of a run.
pub struct RunOptions {
    /// Device name.
    pub device: String,
    /// Number of threads in use, which is recorded.
    pub threads: usize,
    /// The run folder.
    pub out: PathBuf,
    /// What to do if the folder holds a run already.
    pub existing: Existing,
    /// Whether to resume on data that has changed since the run began.
    pub accept_changed_data: bool,
    /// Whether to resume in another `train.precision` than the run began in.
    pub accept_changed_precision: bool,
}

impl RunOptions {
    /// Trains on the CPU, in the run folder `out`, which must not hold a run yet.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self {
            device: device::DEFAULT.into(),
            threads: rayon::current_num_threads(),
            out: out.into(),
            existing: Existing::Refuse,
            accept_changed_data: false,
            accept_changed_precision: false,
        }
    }

    /// Keys that a resume may change because the user accepts it.
    pub(crate) fn accepted(&self) -> &'static [&'static str] {
        match self.accept_changed_precision {
            true => &[PRECISION],
            false => &[],
        }
    }
}

/// Trains `experiment` in this process alone, or continues the run in its folder ([`Existing::Resume`]).
///
/// All checks come before anything in the run folder is changed.
///
/// # Errors
/// [`TrainError`]. Earlier checkpoints are unchanged.
pub fn train(
    experiment: &Experiment,
    options: &RunOptions,
    interrupter: &Interrupter,
    console: &mut Console,
) -> Result<Outcome, TrainError> {
    let cluster = Rc::new(Cluster::alone(interrupter));
    train_together(experiment, options, &cluster, console)
}

/// Trains `experiment` on every rank of `cluster` together. The first rank writes the run folder.
///
/// # Errors
/// The errors of [`train`]. Before the first step an error is returned on every rank. After it an error belongs to this
/// rank only, except a divergence, and the other ranks wait: call [`Cluster::abort`].
pub fn train_together(
    experiment: &Experiment,
    options: &RunOptions,
    cluster: &Rc<Cluster>,
    console: &mut Console,
) -> Result<Outcome, TrainError> {
    let run = open(experiment, options, cluster, console)?;
    train_opened(run, options, console)
}

/// Opens device and data, and checks them.
///
/// # Errors
/// Their errors. No file is changed.
pub(crate) fn open(
    experiment: &Experiment,
    options: &RunOptions,
    cluster: &Rc<Cluster>,
    console: &mut Console,
) -> Result<Run, TrainError> {
    let mut open = || {
        let run = Run::open(
            experiment,
            &options.device,
            options.threads,
            cluster.clone(),
        )
        .map_err(|error| of_begun(error, options))?;
        run.check_device(console)?;
        Ok(run)
    };
    let run = cluster.agree(open())?;
    run.compare_ranks()?;
    Ok(run)
}

/// Rewords the refusal of a resumed run whose data now has another number of classes. The message names the run, because
/// the user cannot change the key.
fn of_begun(error: TrainError, options: &RunOptions) -> TrainError {
    match error {
        TrainError::Value {
            key,
            found,
            accepted,
        } if key == "model.classes" && options.existing == Existing::Resume => {
            let saved = checkpoint::description(&store::last(&options.out));
            match saved.is_some_and(|saved| saved.class_names.len().to_string() == found) {
                true => TrainError::Value {
                    key: "the number of classes".into(),
                    found: accepted,
                    accepted: format!(
                        "{found}, the classes that the run in {} was started with; --out DIR starts another run",
                        options.out.display()
                    ),
                },
                false => TrainError::Value {
                    key,
                    found,
                    accepted,
                },
            }
        }
        other => other,
    }
}

/// Opens the folder of an open run, and trains in it.
///
/// # Errors
/// The errors of [`train_together`].
pub(crate) fn train_opened(
    mut run: Run,
    options: &RunOptions,
    console: &mut Console,
) -> Result<Outcome, TrainError> {
    let cluster = Rc::clone(&run.cluster);
    let mut begin = || match cluster.is_first() {
        true => {
            let (experiment, accepted) = (&run.description.experiment, options.accepted());
            let folder = RunFolder::open(&options.out, experiment, options.existing, accepted)?;
            let begun = match resume::start(&run, &folder, options) {
                Ok(begun) => begun,
                Err(error) => {
                    folder.abandon();
                    return Err(error);
                }
            };
            if options.existing == Existing::Replace {
                // All checks have passed here.
                folder.clear()?;
            }
            begun.notes.iter().for_each(|note| console.line(note));
            Ok(Some((folder, begun)))
        }
        false => Ok(None),
    };
    let (folder, begun) = cluster.agree(begin())?.unzip();
    let state = begun.map(|begun| {
        run.description.chosen_on = begun.chosen_on;
        begun.state
    });
    let state = cluster.agree(run.share_start(state))?;
    if state.progress.finished && run.is_done(&state.progress) {
        return Ok(Outcome::Finished);
    }
    cluster.reported(open_and_train(&run, folder.as_ref(), state, console))
}

/// Opens the records of a run and trains.
fn open_and_train(
    run: &Run,
    folder: Option<&RunFolder>,
    state: State,
    console: &mut Console,
) -> Result<Outcome, TrainError> {
    let experiment = &run.description.experiment;
    let lines = run.introduce(&state);
    lines.iter().for_each(|line| console.line(line));
    let (config, keep) = (&experiment.checkpoint, state.progress.metrics_bytes);
    let (journal, lost) = match folder {
        Some(folder) => {
            folder.record(experiment, &run.environment)?;
            image_list::write(folder.path(), &run.sources)?;
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
            "resume     metrics.jsonl is {lost} bytes shorter than the checkpoint records: those lines are lost"
        ));
        // The checkpoint's number of bytes includes the lost lines. A new checkpoint has the right number, so that later
        // lines are not counted as part of them.
        training.save()?;
    }
    training.train(console)
}
