//! The checkpoints of a run. Each is complete or absent, and the newest intact one can always be found.
//!
//! A checkpoint is a folder `step-001234`, written under another name, synced, and renamed into place as
//! one. `last` and `best` are links beside it (`links.rs`). A kill leaves at most a folder named
//! `.*.partial`, which the next start deletes. A failure (a full disk) deletes it at once. A copy of a run may have lost
//! its links, or have folders in their place: `repair.rs`.

use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, AVERAGE, Checkpoint, MANIFEST, WEIGHTS, repair};
use crate::error::TrainError;
use crate::files::write_folder;
use crate::links::{followed, read_link, replace_link};

/// The newest intact checkpoint of a run.
pub struct Newest {
    /// Name of the folder.
    pub name: String,
    /// Content of the checkpoint.
    pub checkpoint: Checkpoint,
    /// The errors of newer, damaged checkpoints.
    pub damaged: Vec<TrainError>,
}

/// Writes `checkpoint` into the folder `root` and points `last` at it. Returns its folder's name.
///
/// # Errors
/// [`TrainError::Io`]. Earlier checkpoints are then unchanged.
pub fn save(root: &Path, checkpoint: &Checkpoint) -> Result<String, TrainError> {
    let name = free_name(root, checkpoint.progress.step);
    write_folder(&root.join(&name), |folder| {
        checkpoint::write(folder, checkpoint)
    })?;
    replace_link(&root.join("last"), &name)?;
    Ok(name)
}

/// `step-001234`, or `step-001234-2` where a checkpoint of this step exists (an interrupted epoch and its evaluation
/// end on the same step).
pub(super) fn free_name(root: &Path, step: usize) -> String {
    let plain = format!("step-{step:06}");
    let mut name = plain.clone();
    let mut number = 2;
    while root.join(&name).exists() {
        name = format!("{plain}-{number}");
        number += 1;
    }
    name
}

/// Makes the folder `root`, deletes what a kill left half written in it, and restores links that a copy lacks.
///
/// # Errors
/// [`TrainError::Io`].
pub fn open(root: &Path) -> Result<(), TrainError> {
    fs::create_dir_all(root).map_err(|e| TrainError::io("create", root, e))?;
    for name in names(root)?.iter().filter(|name| is_partial(name)) {
        remove(&root.join(name))?;
    }
    repair::restore(root)
}

/// Deletes the checkpoints in `root`, and the folder if nothing else is in it.
///
/// # Errors
/// [`TrainError::Io`].
pub fn clear(root: &Path) -> Result<(), TrainError> {
    let is_ours = |name: &&String| {
        let is_link = ["best", "last"].contains(&name.as_str());
        is_link || is_checkpoint(name) || is_partial(name)
    };
    for name in names(root)?.iter().filter(is_ours) {
        remove(&root.join(name))?;
    }
    // What the user put there stays, and so does the folder.
    let _ = fs::remove_dir(root);
    Ok(())
}

fn is_partial(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".partial")
}

/// Deletes a folder, a file or a link.
fn remove(path: &Path) -> Result<(), TrainError> {
    // A link is not a folder of its own.
    let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let removed = match is_folder {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    removed.map_err(|e| TrainError::io("remove", path, e))
}

/// Points `best` at the checkpoint `name`, unless it does already.
///
/// # Errors
/// [`TrainError::Io`].
pub fn link_best(root: &Path, name: &str) -> Result<(), TrainError> {
    let link = root.join("best");
    match read_link(&link) {
        Some(target) if target == Path::new(name) => Ok(()),
        _ => replace_link(&link, name),
    }
}

/// Name of the folder of checkpoints in a run folder.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// Name of the list of seeds in a folder that holds a run for each ([`crate::run::seeds`]).
pub(crate) const SEEDS: &str = "seeds.toml";

/// Path of the best checkpoint in a run folder.
pub fn best(run: &Path) -> PathBuf {
    let root = run.join(CHECKPOINTS);
    linked(&root, "best", repair::best)
}

/// Path of the last checkpoint in a run folder.
pub fn last(run: &Path) -> PathBuf {
    let root = run.join(CHECKPOINTS);
    linked(&root, "last", |root| checkpoints(root).ok()?.pop())
}

/// The run folder of a checkpoint: `RUN` of `RUN/checkpoints/step-001234`. `None`: the checkpoint is no run's.
pub fn run_of(checkpoint: &Path) -> Option<PathBuf> {
    let folder = checkpoint.canonicalize().ok()?;
    let root = folder.parent()?;
    let run = root.ends_with(CHECKPOINTS).then(|| root.parent())?;
    run.map(PathBuf::from)
}

/// The checkpoint that the link `name` in `root` points at, or that `search` finds if the link is lost.
fn linked(root: &Path, name: &str, search: impl Fn(&Path) -> Option<String>) -> PathBuf {
    let link = followed(root.join(name));
    match link.join(MANIFEST).is_file() {
        true => link,
        false => search(root).map_or(link, |name| root.join(name)),
    }
}

/// A checkpoint that the user named.
pub struct Located {
    /// The checkpoint's folder.
    pub folder: PathBuf,
    /// The weight file, if the user named one.
    pub file: Option<&'static str>,
}

/// The checkpoint that `path` stands for: a run folder's best (its last while the run has evaluated none), a
/// checkpoint's own folder, or the folder around a weight file.
///
/// # Errors
/// [`TrainError::Checkpoint`]: `path` is none of these, or a run that has lost its best checkpoint.
pub fn locate(path: &Path) -> Result<Located, TrainError> {
    let path = &followed(path.into());
    if path.is_dir() {
        let candidates = [path.into(), best(path), last(path)];
        let is_there = |folder: &PathBuf| folder.join(MANIFEST).is_file();
        let [_, best, last] = &candidates;
        if is_there(last) && !is_there(best) {
            repair::check_best(path, last)?;
        }
        let folder = candidates.into_iter().find(is_there);
        let located = folder.map(|folder| Located { folder, file: None });
        return located.ok_or_else(|| {
            let message = match path.join(SEEDS).is_file() {
                true => "holds a run for each of several seeds: name one, as its seed-N",
                false => {
                    "is neither a checkpoint nor a run folder with one \
                     (expected manifest.json or checkpoints/best in it)"
                }
            };
            TrainError::checkpoint(path, message)
        });
    }
    if !path.exists() {
        return Err(TrainError::checkpoint(path, "does not exist"));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let is_named = |file: &&str| path.file_name().is_some_and(|name| name == *file);
    let file = [WEIGHTS, AVERAGE].into_iter().find(is_named);
    if file.is_some() && folder.join(MANIFEST).is_file() {
        let folder = folder.into();
        return Ok(Located { folder, file });
    }
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let remedy = match &*ending.to_lowercase() {
        "pth" | "pt" | "bin" | "ckpt" | "safetensors" => {
            "; `shufflenet import` makes a checkpoint of a file with weights"
        }
        _ => "",
    };
    let message = format!(
        "is not a checkpoint: expected a run folder, a checkpoint folder, or its {WEIGHTS}{remedy}"
    );
    Err(TrainError::checkpoint(path, message))
}

/// The newest intact checkpoint in `root`. `None`: there are no checkpoints.
///
/// # Errors
/// The error of the newest checkpoint, if all are damaged; the system's error, if one cannot be read.
pub fn newest(root: &Path) -> Result<Option<Newest>, TrainError> {
    let mut candidates = checkpoints(root)?;
    candidates.reverse();
    // `last` is the newest by definition; names order the others.
    if let Some(last) = read_link(&root.join("last")) {
        candidates.retain(|name| Path::new(name) != last);
        candidates.insert(0, last.to_string_lossy().into_owned());
    }
    let mut damaged = Vec::new();
    for name in candidates {
        match checkpoint::load(&root.join(&name)) {
            Ok(checkpoint) => {
                return Ok(Some(Newest {
                    name,
                    checkpoint,
                    damaged,
                }));
            }
            Err(error) if is_damage(&error) => damaged.push(error),
            Err(error) => return Err(error),
        }
    }
    match damaged.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// Whether a checkpoint is damaged or gone. An intact checkpoint that this version or this user cannot read is not skipped.
fn is_damage(error: &TrainError) -> bool {
    match error {
        TrainError::Checkpoint { .. } => true,
        TrainError::Io { source, .. } => source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

/// Deletes all but the last `keep` checkpoints up to `newest`, and the one that `best` points at. Later ones, which can
/// only be damaged, are neither counted nor deleted.
pub fn prune(root: &Path, keep: usize, newest: &str) {
    let best = read_link(&root.join("best"));
    let mut names = checkpoints(root).unwrap_or_default();
    names.retain(|name| number(name) <= number(newest));
    let old = names.len().saturating_sub(keep);
    for name in names.iter().take(old) {
        if best.as_deref() != Some(Path::new(name)) {
            // What cannot be deleted now, the next call deletes.
            let _ = fs::remove_dir_all(root.join(name));
        }
    }
}

/// Names of the checkpoints in `root`, oldest first.
pub(super) fn checkpoints(root: &Path) -> Result<Vec<String>, TrainError> {
    let mut names = names(root)?;
    names.retain(|name| is_checkpoint(name));
    names.sort_by_key(|name| number(name));
    Ok(names)
}

/// Whether a folder of this name is a checkpoint of the run: `step-001234` or `step-001234-2`. Any other is the user's.
fn is_checkpoint(name: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    let numbers: Option<Vec<&str>> = name
        .strip_prefix("step-")
        .map(|rest| rest.split('-').collect());
    numbers.is_some_and(|numbers| numbers.len() <= 2 && numbers.into_iter().all(is_number))
}

/// Names in the folder `root`. Empty if there is no such folder.
fn names(root: &Path) -> Result<Vec<String>, TrainError> {
    let name = |entry: io::Result<DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    match fs::read_dir(root).and_then(|entries| entries.map(name).collect()) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(|e| TrainError::io("read", root, e)),
    }
}

/// Key that orders names: `step-000100` before `step-000100-2` before `step-1000000`.
fn number(name: &str) -> Vec<u64> {
    let numbers = name.split('-').skip(1);
    numbers.map(|n| n.parse().unwrap_or(0)).collect()
}
