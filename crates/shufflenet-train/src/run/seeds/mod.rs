//! Trains one experiment from several seeds: a whole run for each, one after the other. The runs are resumed together.
//!
//! Runs that differ only in their seed show how much of a figure is chance. Each is an ordinary run in its own folder
//! (`folder.rs`), and ends with the bits of a single run. `outcome.rs` prints the figures of the runs, their mean and their
//! standard deviation.

mod folder;
mod list;
mod outcome;

use std::rc::Rc;

pub use folder::experiment_in;
pub(crate) use folder::{is_finished, place};
pub use list::Seeds;
pub(crate) use outcome::{Measured, Spread, other_lengths};

use crate::Interrupter;
use crate::cluster::Cluster;
use crate::display::console::Console;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::run::folder::Existing;
use crate::run::start::{self, RunOptions};
use crate::run::training_loop::Outcome;
use folder::SeedsFolder;

/// Trains `experiment` once from each of `seeds`, in the folder `seed-N` of the folder of `options`, and prints the
/// figures of the runs. `--resume` keeps finished runs, continues the interrupted run, and starts the others.
///
/// # Errors
/// The errors of [`crate::train`]; [`TrainError::Seed`] for the run of one seed.
pub fn train_seeds(
    experiment: &Experiment,
    seeds: &Seeds,
    options: &RunOptions,
    interrupter: &Interrupter,
    console: &mut Console,
) -> Result<Outcome, TrainError> {
    let mut folder = SeedsFolder::find(&options.out, seeds, options.existing)?;
    if options.existing == Existing::Resume && !folder.is_begun() {
        let out = options.out.display();
        console.line(&format!(
            "resume     nothing is saved in {out}: starting a new run"
        ));
    }
    for (index, seed) in seeds.iter().enumerate() {
        if interrupter.should_stop() {
            console.line(&format!(
                "stopped    before seed {seed}; the same command with --resume continues"
            ));
            return Ok(Outcome::Interrupted);
        }
        let (number, of) = (index + 1, seeds.iter().count());
        console.line(&format!("seed       {seed}, {number} of {of}"));
        let named = |error: TrainError| error.of_seed(seed);
        let cluster = Rc::new(Cluster::alone(interrupter));
        let run = start::open(&with_seed(experiment, seed), options, &cluster, console);
        let run = run.map_err(named)?;
        folder.take(&run, options.accepted())?;
        let options = folder.options(seed, options);
        match start::train_opened(run, &options, console).map_err(named) {
            Ok(Outcome::Finished) => {}
            Ok(Outcome::Interrupted) => return Ok(Outcome::Interrupted),
            Err(error) => {
                folder.abandon();
                return Err(error);
            }
        }
    }
    for line in outcome::summary(&options.out, seeds) {
        console.line(&line);
    }
    Ok(Outcome::Finished)
}

/// `experiment` with another seed.
fn with_seed(experiment: &Experiment, seed: u64) -> Experiment {
    let mut experiment = experiment.clone();
    experiment.train.seed = seed;
    experiment
}
