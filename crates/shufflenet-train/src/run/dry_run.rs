//! `train --dry-run`: a batch or two through everything that a run does, in seconds.
//!
//! It finds errors that would stop a long run only after its first epoch: an evaluation set that does not fit, a checkpoint
//! that cannot be written or read. It changes no run folder. The checkpoint is written to the system's temporary folder and
//! deleted.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::Interrupter;
use crate::checkpoint;
use crate::checkpoint::store;
use crate::cluster::Cluster;
use crate::display::console::Console;
use crate::display::words::{counted, describe, duration, thousands};
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::run::context::Run;
use crate::step::state::{State, not_finite};

/// Opens device and data, takes one optimizer step (and one of the last epoch, if its images or its teacher differ),
/// evaluates one batch, writes a checkpoint to a temporary folder and reads it back.
///
/// # Errors
/// The errors of a run.
pub fn dry_run(
    experiment: &Experiment,
    device: &str,
    threads: usize,
    console: &mut Console,
) -> Result<(), TrainError> {
    let interrupter = Interrupter::new();
    let cluster = Rc::new(Cluster::alone(&interrupter));
    let run = Run::open(experiment, device, threads, cluster)?;
    run.check_device(console)?;
    let (mut state, mut lines) =
        State::fresh(&run.experiment, &run.description, &run.device, &run.cluster)?;
    lines.extend(run.introduce(&state));
    lines.iter().for_each(|line| console.line(line));

    let (images, time) = step(&run, &mut state)?;
    let steps = run.total_steps();
    console.line(&format!(
        "step       {} in {:.0} ms, the first and slowest: {} of them would take {}; {}",
        counted(images, "image"),
        time.as_secs_f64() * 1e3,
        thousands(steps),
        duration(time.saturating_mul(steps.try_into().unwrap_or(u32::MAX))),
        describe(&state.progress.tally.metrics())
    ));
    if run.epochs() > 1 && has_phases(&run.experiment) {
        // The last epoch has the largest images, and a teacher that starts later.
        state.progress.epochs = run.epochs() - 1;
        state.progress.batch = 0;
        let (images, time) = step(&run, &mut state)?;
        console.line(&format!(
            "step       {} of the last epoch in {:.0} ms",
            counted(images, "image"),
            time.as_secs_f64() * 1e3
        ));
    }

    let evaluation = &run.sources.evaluation;
    let evaluated = run.evaluate(&state, || evaluation.part_of_epoch(0, 0..1), console)?;
    if let Some(evaluation) = evaluated.iter().flatten().last() {
        console.line(&format!(
            "evaluation {} of {}: {}",
            counted(evaluation.metrics.count as usize, "image"),
            run.sources.evaluation_split,
            describe(&evaluation.metrics)
        ));
    }

    let temporary = tempfile::tempdir();
    let temporary =
        temporary.map_err(|e| TrainError::io("create a folder in", &std::env::temp_dir(), e))?;
    let root = temporary.path();
    let start = Instant::now();
    let saved = state.checkpoint(&run.description)?;
    if let Some(tensor) = not_finite(&saved) {
        return Err(TrainError::diverged(format!("`{tensor}`")).at(run.place(&state.progress)));
    }
    let folder = root.join(store::save(root, &saved)?);
    let time = start.elapsed();
    let loaded = checkpoint::load(&folder)?;
    State::restore(&run.experiment, &run.device, &run.cluster, &loaded)
        .map_err(|message| TrainError::checkpoint(&folder, message))?;
    console.line(&format!(
        "checkpoint {:.1} MB in {:.0} ms, and read back",
        size(&folder) as f64 / 1e6,
        time.as_secs_f64() * 1e3
    ));
    console.line("dry run    all of it works; nothing was kept");
    Ok(())
}

/// Takes a step in the current epoch. Returns the number of its images, and its time.
fn step(run: &Run, state: &mut State) -> Result<(usize, Duration), TrainError> {
    let start = Instant::now();
    let mut batches = run.rest_of_epoch(state);
    let images = run.step(state, &mut batches, run.rates(0))?;
    run.settle(state)?;
    Ok((images, start.elapsed()))
}

/// Whether epochs differ in the size of their images or in their teacher.
fn has_phases(experiment: &Experiment) -> bool {
    let teaches_later = experiment
        .distill
        .as_ref()
        .is_some_and(|distill| distill.after_epoch > 0);
    teaches_later || !experiment.train.progressive.is_empty()
}

/// Bytes of the files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
