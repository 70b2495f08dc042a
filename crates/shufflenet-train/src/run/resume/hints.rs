//! Hints at the intended run, if `--resume` finds nothing saved in its folder.

use std::path::{Path, PathBuf};

use crate::checkpoint::{self, store};
use crate::data::trained_on::is_same_place;
use crate::experiment::compare::check_same;
use crate::run::context::Run;

/// A line on the folder `path`, in which nothing is saved, with a hint at another run.
pub(super) fn nothing_saved(path: &Path, run: &Run) -> String {
    let similar = || {
        let similar = similar_run(path)?;
        Some(format!(
            " ({} is a run of a similar name)",
            similar.display()
        ))
    };
    let hint = run_on_same_data(path, run).or_else(similar);
    format!(
        "resume     nothing is saved in {}: starting a new run{}",
        path.display(),
        hint.unwrap_or_default()
    )
}

/// A hint at a run beside `path` on the data of `run`. A run is named after its data folder, which may have been renamed.
fn run_on_same_data(path: &Path, run: &Run) -> Option<String> {
    let (_, other, saved) = runs_beside(path)?
        .filter_map(|(score, other)| {
            let saved = checkpoint::description(&store::last(&other))?;
            let is_same = saved.data_sha256 == run.description.data_sha256;
            let (then, now) = (&saved.experiment, &run.description.experiment);
            let continues = check_same(&other, then, now, &[]).is_ok();
            (is_same && continues).then_some((score, other, saved))
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
        if other == path.file_name()? || !entry.path().join(store::CHECKPOINTS).is_dir() {
            return None;
        }
        let score = strsim::jaro_winkler(name, other.to_str()?);
        Some((score, path.with_file_name(other)))
    }))
}
