//! Where a run starts: with fresh weights, or from its newest intact checkpoint.
//!
//! A resumed run must be the run that was started. [`crate::experiment::compare`] lists the keys that may differ. The
//! data may be in another place but must be the same: every checkpoint has its checksum. A schedule that follows the
//! length of a run changes with it, from the resumed step on.

use std::path::Path;

use crate::checkpoint::description::Description;
use crate::checkpoint::store;
use crate::device::machine::Environment;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::experiment::compare::check_same;
use crate::run::context::Run;
use crate::run::folder::{Existing, RunFolder};
use crate::step::state::State;

/// Fresh weights, or those of the newest intact checkpoint, with notes on them for a person.
///
/// # Errors
/// [`TrainError::Changed`]; [`TrainError::Checkpoint`] where none is intact.
pub(crate) fn start(
    run: &Run,
    folder: &RunFolder,
    existing: Existing,
) -> Result<(State, Vec<String>), TrainError> {
    let root = folder.checkpoints();
    let found = match existing {
        Existing::Resume => store::newest(&root)?,
        Existing::Refuse | Existing::Replace => None,
    };
    let Some(found) = found else {
        let mut notes = Vec::new();
        if existing == Existing::Resume {
            notes.push("resume     nothing is saved yet: starting afresh".into());
        }
        let (state, started) = State::fresh(&run.experiment, &run.device, &run.cluster)?;
        notes.extend(started);
        return Ok((state, notes));
    };
    let saved = &found.checkpoint.description;
    check(folder.path(), saved, &run.description)?;
    let environment = folder.last_environment();
    check_ranks(folder.path(), run, &environment)?;
    let state = State::restore(
        &run.experiment,
        &run.device,
        &run.cluster,
        &found.checkpoint,
    )
    .map_err(|message| TrainError::checkpoint(&root.join(&found.name), message))?;
    let progress = &state.progress;
    // A kill may have come after the checkpoint was written and before the link was.
    if progress.is_best() {
        store::link_best(&root, &found.name)?;
    }
    let damaged = found.damaged.iter();
    let mut notes: Vec<String> = damaged
        .map(|error| format!("resume     passing over {error}"))
        .collect();
    let total = run.total_steps();
    notes.push(match progress.finished && run.is_done(progress) {
        true => format!(
            "finished   at step {} of {total} already: a larger train.epochs or train.max_steps goes on",
            progress.step
        ),
        false => format!(
            "resume     at step {} of {total}, epoch {}, from {}",
            progress.step,
            progress.epochs + 1,
            root.join(&found.name).display()
        ),
    });
    notes.extend(schedule_note(run, &saved.experiment));
    notes.extend(machine_note(&environment, &run.environment));
    Ok((state, notes))
}

/// Refuses to continue under `now` a run that was started under `saved`.
///
/// # Errors
/// [`TrainError::Changed`] with the first key that differs.
fn check(run: &Path, saved: &Description, now: &Description) -> Result<(), TrainError> {
    check_same(run, &saved.experiment, &now.experiment)?;
    if saved.data_sha256 == now.data_sha256 {
        return Ok(());
    }
    Err(TrainError::Changed {
        run: run.into(),
        key: "the data's SHA-256".into(),
        old: saved.data_sha256.clone(),
        new: now.data_sha256.clone(),
    })
}

/// Refuses another number of ranks, where each rank normalises its own share of a batch.
///
/// # Errors
/// [`TrainError::Changed`].
fn check_ranks(path: &Path, run: &Run, environment: &serde_json::Value) -> Result<(), TrainError> {
    let (before, now) = (ranks_of(environment), run.environment.ranks());
    if run.experiment.cluster.sync_batch_norm || before == now {
        return Ok(());
    }
    Err(TrainError::Changed {
        run: path.into(),
        key: "the number of ranks, each with a batch norm of its own (cluster.sync_batch_norm = false),".into(),
        old: before.to_string(),
        new: now.to_string(),
    })
}

/// Number of ranks at the last start of a run: 1 in files from before it was recorded.
fn ranks_of(environment: &serde_json::Value) -> usize {
    let ranks = environment.get("ranks").and_then(serde_json::Value::as_u64);
    ranks.map_or(1, |ranks| ranks as usize)
}

/// A note on what a changed length does to the schedule, where it changes it.
fn schedule_note(run: &Run, saved: &Experiment) -> Option<String> {
    let (before, now) = (saved.schedule(run.batches()).total(), run.total_steps());
    let kind = run.experiment.schedule.kind;
    (kind.follows_length() && before != now).then(|| {
        format!("resume     the {kind} schedule now ends at step {now}, it was {before}: rates change from here on")
    })
}

/// A note on other bits, where the machine differs from that of the last start.
fn machine_note(before: &serde_json::Value, now: &Environment) -> Option<String> {
    let pairs = [
        ("device", now.device()),
        ("adapter", now.adapter()),
        ("dispatch", now.dispatch()),
    ];
    let changes = pairs.into_iter().filter_map(|(key, now)| {
        let before = before.get(key)?.as_str()?;
        (before != now && !now.is_empty()).then(|| format!("{key} {before}, now {now}"))
    });
    let (ranks, now_ranks) = (ranks_of(before), now.ranks());
    let ranks_changed = (ranks != now_ranks).then(|| format!("ranks {ranks}, now {now_ranks}"));
    let changes: Vec<String> = changes.chain(ranks_changed).collect();
    (!changes.is_empty()).then(|| {
        let changes = changes.join(", ");
        format!("resume     {changes}: the bits may differ from an uninterrupted run's")
    })
}
