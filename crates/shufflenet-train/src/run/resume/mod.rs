//! The start of a run: with initial weights, or from its newest intact checkpoint.
//!
//! A resumed run must have the experiment that it was started with. [`crate::experiment::compare`] lists the keys that
//! may differ. The data may be in another place, but must be the same unless the user accepts the change. Every
//! checkpoint has the checksum of the data. If the length of a run changes, a schedule that depends on it changes from
//! the resumed step on.

mod hints;
mod notes;

use std::path::Path;

use crate::checkpoint::description::{ChosenOn, Description};
use crate::checkpoint::store::{self, Newest};
use crate::checkpoint::{self, Best, MANIFEST, Progress};
use crate::data::trained_on::is_same_place;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::experiment::compare::check_same;
use crate::run::context::Run;
use crate::run::folder::{Existing, RunFolder};
use crate::run::image_list;
use crate::run::start::RunOptions;
use crate::step::state::State;

/// The start of a run.
pub(crate) struct Begun {
    /// Network, optimizer and progress.
    pub state: State,
    /// The part of the data that chooses the best epoch, or chose it before the interruption.
    pub chosen_on: Option<ChosenOn>,
    /// Lines to print.
    pub notes: Vec<String>,
}

/// Initial weights, or those of the newest intact checkpoint.
///
/// # Errors
/// [`TrainError::Changed`], [`TrainError::DataChanged`]; [`TrainError::Checkpoint`] if none is intact.
pub(crate) fn start(
    run: &Run,
    folder: &RunFolder,
    options: &RunOptions,
) -> Result<Begun, TrainError> {
    let resumes = options.existing == Existing::Resume;
    if resumes && let Some(found) = store::newest(&folder.checkpoints())? {
        return resume(run, folder, options, &found);
    }
    let mut notes = Vec::new();
    if resumes {
        notes.push(hints::nothing_saved(folder.path(), run));
    }
    let (state, started) =
        State::fresh(&run.experiment, &run.description, &run.device, &run.cluster)?;
    notes.extend(started);
    Ok(Begun {
        state,
        chosen_on: run.description.chosen_on.clone(),
        notes,
    })
}

/// The state of the checkpoint that was found, with notes.
fn resume(
    run: &Run,
    folder: &RunFolder,
    options: &RunOptions,
    found: &Newest,
) -> Result<Begun, TrainError> {
    let place = folder.checkpoints().join(&found.name);
    let saved = &found.checkpoint.description;
    let was = &found.checkpoint.progress;
    let changes = if was.finished && run.is_done(was) {
        // Nothing is read any more.
        None
    } else {
        check(folder.path(), saved, run, options)?
    };
    let environment = folder.last_environment();
    check_ranks(folder.path(), run, &environment)?;
    let restored = State::restore(
        &run.experiment,
        &run.device,
        &run.cluster,
        &found.checkpoint,
    );
    let mut state = restored.map_err(|message| TrainError::checkpoint(&place, message))?;
    let mut changed = Vec::new();
    if let Some(changes) = changes {
        changed.push(format!("resume     on changed data: {changes}"));
        changed.extend(adapt(&mut state.progress, saved, run));
    }
    let lost = forget_lost_best(folder, &mut state.progress);
    let progress = &state.progress;
    let (step, total) = (progress.step, run.total_steps());
    if step > total && !progress.finished {
        return Err(too_short(folder.path(), run, progress));
    }
    // A kill may have come after the checkpoint was written and before the link was.
    if progress.is_best() {
        store::open(&folder.checkpoints())?;
        store::link_best(&folder.checkpoints(), &found.name)?;
    }
    let damaged = found.damaged.iter();
    let mut notes: Vec<String> = damaged
        .map(|error| format!("resume     skipping {error}"))
        .collect();
    notes.extend(lost);
    let is_over = progress.finished && run.is_done(progress);
    let remedy = match step < total {
        true => "a larger train.patience",
        false => "a larger train.epochs or train.max_steps",
    };
    notes.push(match is_over {
        true => format!("finished   at step {step} of {total} already: {remedy} continues it"),
        false => format!(
            "resume     at step {step} of {total}, epoch {}, from {}",
            progress.epochs + 1,
            place.display()
        ),
    });
    if changed.is_empty() && !is_over {
        notes.extend(notes::place(run, &saved.experiment));
    }
    notes.extend(changed);
    notes.extend(notes::schedule(run, &saved.experiment));
    notes.extend(notes::precision(run, &saved.experiment));
    notes.extend(notes::machine(&environment, &run.environment));
    // `train.evaluate_every = 0` chooses no epoch from here on, but the best epoch so far was chosen.
    let chose = progress.best.as_ref().and(saved.chosen_on.as_ref());
    let chosen_on = run.description.chosen_on.as_ref().or(chose).cloned();
    Ok(Begun {
        state,
        chosen_on,
        notes,
    })
}

/// Forgets the best epoch if its checkpoint is gone, so that the best of the following epochs is kept. Returns a note.
fn forget_lost_best(folder: &RunFolder, progress: &mut Progress) -> Option<String> {
    let best = store::best(folder.path());
    let kept = checkpoint::progress(&best).filter(|_| best.join(MANIFEST).is_file());
    let is_kept = |known: &Best| kept.is_some_and(|kept| kept.step == known.step);
    if progress.is_best() || progress.best.as_ref().is_some_and(is_kept) {
        return None;
    }
    let lost = progress.best.take()?;
    Some(format!(
        "resume     the best epoch, {}, is forgotten: its checkpoint is gone",
        lost.epoch
    ))
}

/// The refusal of a length that the run has exceeded, because the schedule has no rate for further steps.
fn too_short(path: &Path, run: &Run, progress: &Progress) -> TrainError {
    let train = &run.experiment.train;
    let (key, found) = match train.max_steps {
        Some(steps) if steps < progress.step => ("train.max_steps", steps),
        _ => ("train.epochs", train.epochs),
    };
    TrainError::Value {
        key: key.into(),
        found: found.to_string(),
        accepted: format!(
            "more: {} is at step {}, in epoch {}",
            path.display(),
            progress.step,
            progress.epochs + 1
        ),
    }
}

/// Compares the run in the folder `path`, which was started as `saved`, with the run that is to continue it. Returns the
/// difference of the data, if the user accepts it.
///
/// # Errors
/// [`TrainError::Changed`] with the first key that differs; [`TrainError::DataChanged`].
fn check(
    path: &Path,
    saved: &Description,
    run: &Run,
    options: &RunOptions,
) -> Result<Option<String>, TrainError> {
    let now = &run.description;
    check_same(path, &saved.experiment, &now.experiment, options.accepted())?;
    let moved = moved(run, &saved.experiment);
    if saved.class_names != now.class_names {
        let [in_old, in_new] = match moved {
            Some([old, new]) => [old, new].map(|root| format!(" in {}", root.display())),
            None => Default::default(),
        };
        return Err(TrainError::Changed {
            run: path.into(),
            key: "the classes".into(),
            old: format!("{}{in_old}", saved.class_names.join(", ")),
            new: format!("{}{in_new}", now.class_names.join(", ")),
        });
    }
    if saved.teachers_sha256 != now.teachers_sha256 {
        let [old, new] = [saved, now].map(|described| described.teachers_sha256.join(", "));
        return Err(TrainError::Changed {
            run: path.into(),
            key: "distill.from, by its SHA-256,".into(),
            old,
            new,
        });
    }
    if saved.data_sha256 == now.data_sha256 {
        return Ok(None);
    }
    let changes = image_list::differences(path, &run.sources).unwrap_or_else(|| {
        format!(
            "its SHA-256 is {}, it was {}",
            now.data_sha256, saved.data_sha256
        )
    });
    let changes = match moved {
        Some([old, new]) => format!(
            "it was {}, now it is {}; {changes}",
            old.display(),
            new.display()
        ),
        None => changes,
    };
    if options.accept_changed_data {
        Ok(Some(changes))
    } else {
        Err(TrainError::DataChanged {
            run: path.into(),
            changes,
        })
    }
}

/// Adapts progress to changed data, and returns lines about it. The position within an epoch must exist in the new
/// data. The best epoch is forgotten if other images chose it.
fn adapt(progress: &mut Progress, saved: &Description, run: &Run) -> Vec<String> {
    let together = run.experiment.train.accumulate;
    let last = run.batches().saturating_sub(1) / together * together;
    progress.batch = progress.batch.min(last);
    let mut notes = Vec::new();
    let data = &run.experiment.data;
    if data.validation > 0.0 || data.options.test_fraction > 0.0 {
        notes.push(
            "resume     random parts are drawn again: they may have images that were trained on"
                .into(),
        );
    }
    if saved.chosen_on != run.description.chosen_on && progress.best.take().is_some() {
        notes.push(format!(
            "resume     the best epoch is forgotten: the {} images that chose it have changed",
            saved
                .chosen_on
                .as_ref()
                .map_or("evaluation", |chosen| &chosen.split)
        ));
    }
    notes
}

/// Refuses another number of ranks, if each rank normalises its own share of a batch.
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

/// The path of the data under `saved` and the path now, if they differ.
fn moved<'a>(run: &'a Run, saved: &'a Experiment) -> Option<[&'a Path; 2]> {
    let [old, new] = [saved, &run.experiment].map(|experiment| experiment.data.root.as_path());
    (!is_same_place(old, new)).then_some([old, new])
}

/// Number of ranks at the last start of a run. 1 if an earlier version did not record it.
fn ranks_of(environment: &serde_json::Value) -> usize {
    let ranks = environment.get("ranks").and_then(serde_json::Value::as_u64);
    ranks.map_or(1, |ranks| ranks as usize)
}
