//! Where a run starts: with fresh weights, or from its newest intact checkpoint.
//!
//! A resumed run must be the run that was started. [`crate::experiment::compare`] lists the keys that may differ. The
//! data may be in another place but must be the same, unless the user accepts what changed: every checkpoint has its
//! checksum. A schedule that follows the length of a run changes with it, from the resumed step on.

use std::path::{Path, PathBuf};

use shufflenet_model::Precision;

use crate::checkpoint::description::Description;
use crate::checkpoint::store;
use crate::checkpoint::{self, Progress};
use crate::data::trained_on::is_same_place;
use crate::device::machine::Environment;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::experiment::compare::check_same;
use crate::run::context::Run;
use crate::run::folder::{Existing, RunFolder};
use crate::run::image_list;
use crate::run::start::RunOptions;
use crate::step::state::State;

/// Fresh weights, or those of the newest intact checkpoint, with notes on them for a person.
///
/// # Errors
/// [`TrainError::Changed`], [`TrainError::DataChanged`]; [`TrainError::Checkpoint`] where none is intact.
pub(crate) fn start(
    run: &Run,
    folder: &RunFolder,
    options: &RunOptions,
) -> Result<(State, Vec<String>), TrainError> {
    let root = folder.checkpoints();
    let found = match options.existing {
        Existing::Resume => store::newest(&root)?,
        Existing::Refuse | Existing::Replace => None,
    };
    let Some(found) = found else {
        let mut notes = Vec::new();
        if options.existing == Existing::Resume {
            let similar = || similar_run(folder.path());
            let hint = run_on_same_data(folder.path(), run).or_else(|| {
                similar().map(|run| format!(" ({} is a run of a similar name)", run.display()))
            });
            notes.push(format!(
                "resume     nothing is saved in {}: starting afresh{}",
                folder.path().display(),
                hint.unwrap_or_default()
            ));
        }
        let (state, started) =
            State::fresh(&run.experiment, &run.description, &run.device, &run.cluster)?;
        notes.extend(started);
        return Ok((state, notes));
    };
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
    let mut state = State::restore(
        &run.experiment,
        &run.device,
        &run.cluster,
        &found.checkpoint,
    )
    .map_err(|message| TrainError::checkpoint(&root.join(&found.name), message))?;
    let mut changed_notes = Vec::new();
    if let Some(changes) = changes {
        changed_notes.push(format!("resume     on changed data: {changes}"));
        changed_notes.extend(adapt(&mut state.progress, saved, run));
    }
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
    if progress.step > total && !progress.finished {
        return Err(too_short(folder.path(), run, progress));
    }
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
    if changed_notes.is_empty() && !(progress.finished && run.is_done(progress)) {
        notes.extend(place_note(run, &saved.experiment));
    }
    notes.extend(changed_notes);
    notes.extend(schedule_note(run, &saved.experiment));
    notes.extend(precision_note(run, &saved.experiment));
    notes.extend(machine_note(&environment, &run.environment));
    Ok((state, notes))
}

/// The refusal of a length that the run is beyond: its schedule has no rate for what follows.
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

/// Refuses to continue in the folder `path` a run that was started under `saved`. Returns what differs in the data,
/// where the user accepts it.
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

/// Where the data was under `saved`, and where it is now, if these are two places.
fn moved<'a>(run: &'a Run, saved: &'a Experiment) -> Option<[&'a Path; 2]> {
    let [old, new] = [saved, &run.experiment].map(|experiment| experiment.data.root.as_path());
    (!is_same_place(old, new)).then_some([old, new])
}

/// A line on the same data in another place. Encoded images are the same by their names and sizes.
fn place_note(run: &Run, saved: &Experiment) -> Option<String> {
    let [old, new] = moved(run, saved)?;
    let same = match run.sources.train.dataset().is_encoded() {
        true => "its images have the names and sizes of those",
        false => "the content is the same",
    };
    Some(format!(
        "resume     the data was {}, now it is {}: {same}",
        old.display(),
        new.display()
    ))
}

/// Adapts progress to changed data, and says what that means. The place within an epoch is one that data of another
/// size has. The best epoch is forgotten where other images chose it.
fn adapt(progress: &mut Progress, saved: &Description, run: &Run) -> Vec<String> {
    let together = run.experiment.train.accumulate;
    let last = run.batches().saturating_sub(1) / together * together;
    progress.batch = progress.batch.min(last);
    let mut notes = Vec::new();
    let data = &run.experiment.data;
    if data.validation > 0.0 || data.options.test_fraction > 0.0 {
        notes.push(
            "resume     parts that are drawn by chance are drawn anew: images that were trained on may be in them".into(),
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

/// A hint at a run beside `path` on the data of `run`, for a folder of images that was renamed: the run is named after it.
fn run_on_same_data(path: &Path, run: &Run) -> Option<String> {
    let (_, other, saved) = runs_beside(path)?
        .filter_map(|(score, other)| {
            let saved = checkpoint::description(&store::last(&other))?;
            let is_same = saved.data_sha256 == run.description.data_sha256;
            is_same.then_some((score, other, saved))
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    let (now, root) = (&run.experiment.data.root, &saved.experiment.data.root);
    let called = match is_same_place(root, now) {
        true => String::new(),
        false => format!(", then called {}", root.display()),
    };
    Some(format!(
        "; {} was trained on this data{called}: --resume --out {} continues that run",
        other.display(),
        other.display()
    ))
}

/// A run beside `path` whose name is similar, for a misspelt `--out`.
fn similar_run(path: &Path) -> Option<PathBuf> {
    const SIMILAR: f64 = 0.85;
    let scored = runs_beside(path)?.filter(|&(score, _)| score >= SIMILAR);
    let (_, best) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    Some(best)
}

/// The folders of runs beside `path`, each with the similarity of its name.
fn runs_beside(path: &Path) -> Option<impl Iterator<Item = (f64, PathBuf)>> {
    let name = path.file_name()?.to_str()?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if parent.join(store::SEEDS).is_file() {
        // The runs of the other seeds.
        return None;
    }
    let entries = std::fs::read_dir(parent).ok()?;
    Some(entries.flatten().filter_map(move |entry| {
        let other = entry.file_name();
        if other == path.file_name()? || !entry.path().join("checkpoints").is_dir() {
            return None;
        }
        let score = strsim::jaro_winkler(name, other.to_str()?);
        Some((score, path.with_file_name(other)))
    }))
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

/// A note on another precision than the run's so far.
fn precision_note(run: &Run, saved: &Experiment) -> Option<String> {
    let [before, now] = [saved, &run.experiment].map(|experiment| experiment.train.precision);
    (before != now).then(|| {
        let [before, now] = [before, now].map(Precision::name);
        format!("resume     activations are {now} from here on, they were {before}: the bits differ from an uninterrupted run's")
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
