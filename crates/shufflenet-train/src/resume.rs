//! Where a run starts: afresh or from its newest intact checkpoint; and what `--resume` may change.
//!
//! A resumed run is to be the run that was started. What changes how long it trains, where the data lies
//! or what is kept may change (a schedule that follows the length then changes, from here on); whatever
//! else would have given another result at a step already taken is refused with both values. The data may lie elsewhere, but must be the same: its checksum is in every
//! checkpoint.

use std::path::Path;

use toml::{Table, Value};

use crate::checkpoint::Description;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::machine::Environment;
use crate::run::Run;
use crate::run_folder::{Existing, RunFolder};
use crate::schedule::Schedule;
use crate::state::State;
use crate::store;

/// Keys that may differ between a run and its resumption.
const MAY_CHANGE: [&str; 12] = [
    "name",
    "data.root",
    "data.workers",
    "train.epochs",
    "train.max_steps",
    "train.log_every",
    "train.patience",
    "train.evaluate_every",
    "checkpoint.every_steps",
    "checkpoint.every_minutes",
    "checkpoint.keep",
    "cluster.timeout_seconds",
];

/// Fresh weights, or the newest intact checkpoint's, and what is to be said about it.
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
        let (state, started) = State::fresh(run.experiment, &run.device)?;
        notes.extend(started);
        return Ok((state, notes));
    };
    let saved = &found.checkpoint.description;
    check(folder.path(), saved, &run.description)?;
    let environment = folder.last_environment();
    check_ranks(folder.path(), run, &environment)?;
    let state = State::restore(run.experiment, &run.device, &found.checkpoint)
        .map_err(|message| TrainError::checkpoint(&root.join(&found.name), message))?;
    let progress = &state.progress;
    // A kill may have come between the checkpoint and its link.
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

/// Refuses to go on under `now` with what was made under `saved`.
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

/// Refuses another number of ranks where each norms by its own share of a batch.
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

/// How many ranks a run was last started with; one, where that was not recorded yet.
fn ranks_of(environment: &serde_json::Value) -> usize {
    let ranks = environment.get("ranks").and_then(serde_json::Value::as_u64);
    ranks.map_or(1, |ranks| ranks as usize)
}

/// The same of the experiment alone.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_same(run: &Path, old: &Experiment, new: &Experiment) -> Result<(), TrainError> {
    let (old, new) = (flatten(old)?, flatten(new)?);
    let keys = old.iter().chain(&new).map(|(key, _)| key);
    let value = |pairs: &[(String, String)], key: &str| {
        let found = pairs.iter().find(|(k, _)| k == key);
        found.map_or("unset".to_string(), |(_, value)| value.clone())
    };
    for key in keys {
        if MAY_CHANGE.contains(&key.as_str()) {
            continue;
        }
        let (before, now) = (value(&old, key), value(&new, key));
        if before != now {
            return Err(TrainError::Changed {
                run: run.into(),
                key: key.clone(),
                old: before,
                new: now,
            });
        }
    }
    Ok(())
}

/// What a changed length does to the schedule, where it does.
fn schedule_note(run: &Run, saved: &Experiment) -> Option<String> {
    let (before, now) = (
        Schedule::of(saved, run.batches()).total(),
        run.total_steps(),
    );
    let kind = run.experiment.schedule.kind;
    (kind.follows_length() && before != now).then(|| {
        format!("resume     the {kind} schedule now ends at step {now}, it was {before}: rates change from here on")
    })
}

/// What a changed machine may do to the bits, where it differs from the run's last start.
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

/// Every key of an experiment with its value as TOML.
pub(crate) fn flatten(experiment: &Experiment) -> Result<Vec<(String, String)>, TrainError> {
    fn walk(prefix: &str, table: &Table, into: &mut Vec<(String, String)>) {
        for (key, value) in table {
            match value {
                Value::Table(inner) => walk(&format!("{prefix}{key}."), inner, into),
                value => into.push((format!("{prefix}{key}"), value.to_string())),
            }
        }
    }
    let table = Table::try_from(experiment).map_err(|error| TrainError::Encode {
        what: "the experiment",
        message: error.to_string(),
    })?;
    let mut pairs = Vec::new();
    walk("", &table, &mut pairs);
    Ok(pairs)
}
