//! The links of a run that was copied: `best` and `last` may be lost, or be folders.
//!
//! `rsync` without `-l` leaves links out. `zip`, `scp -r` and most cloud folders copy what a link points at, so that a
//! folder takes the link's place. Every checkpoint has its progress, which tells which of them is the best.

use std::fs;
use std::path::Path;

use super::store::{checkpoints, free_name, link_best};
use super::{MANIFEST, progress};
use crate::error::TrainError;
use crate::links::{followed, replace_link};

/// Makes links of folders in their place, and makes `best` anew where it is lost. No checkpoint is deleted.
///
/// # Errors
/// [`TrainError::Io`]; [`TrainError::Checkpoint`]: a folder in the place of a link is not a checkpoint.
pub(super) fn restore(root: &Path) -> Result<(), TrainError> {
    for name in ["best", "last"] {
        let place = root.join(name);
        let is_folder = place.symlink_metadata().is_ok_and(|found| found.is_dir());
        if !is_folder {
            continue;
        }
        let Some(progress) = progress(&place) else {
            let why = "is a folder without a readable progress.json, in the place of a link; move it elsewhere";
            return Err(TrainError::checkpoint(&place, why));
        };
        let free = free_name(root, progress.step);
        let to = root.join(&free);
        fs::rename(&place, &to).map_err(|e| TrainError::io("rename", &place, e))?;
        replace_link(&place, &free)?;
    }
    let is_lost = !followed(root.join("best")).join(MANIFEST).is_file();
    match best(root).filter(|_| is_lost) {
        Some(name) => link_best(root, &name),
        None => Ok(()),
    }
}

/// Name of the checkpoint that is the best by the progress of the newest one in `root`. `None`: it is not there.
pub(super) fn best(root: &Path) -> Option<String> {
    let names = checkpoints(root).ok()?;
    let progress_of = |name: &String| progress(&root.join(name));
    let best = names.iter().rev().find_map(progress_of)?.best?.step;
    let is_best = |name: &String| {
        progress_of(name).is_some_and(|progress| progress.step == best && progress.is_best())
    };
    names.into_iter().find(is_best)
}

/// Refuses a run whose best checkpoint is gone: `last`, its last checkpoint, knows of a better one.
///
/// # Errors
/// [`TrainError::Checkpoint`].
pub(super) fn check_best(run: &Path, last: &Path) -> Result<(), TrainError> {
    let progress = progress(last).filter(|progress| !progress.is_best());
    match progress.and_then(|progress| progress.best) {
        Some(best) => Err(TrainError::checkpoint(
            run,
            format!(
                "has lost its best checkpoint, that of epoch {}; name another one: {}",
                best.epoch,
                last.display()
            ),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::checkpoint::{Best, Progress, store};
    use crate::links::read_link;

    /// A run whose best checkpoint is the second one of step 5, and whose last one is of step 15.
    fn run(folder: &Path) -> PathBuf {
        let root = folder.join("checkpoints");
        for (name, step, evaluated) in [
            ("step-000005", 5, 0),
            ("step-000005-2", 5, 5),
            ("step-000010", 10, 10),
            ("step-000015", 15, 15),
        ] {
            let best = Best {
                value: 0.5,
                loss: None,
                epoch: 1,
                step: 5,
            };
            let progress = Progress {
                step,
                evaluated,
                best: (evaluated > 0).then_some(best),
                ..Progress::default()
            };
            let place = root.join(name);
            fs::create_dir_all(&place).unwrap();
            let progress = serde_json::to_vec(&progress).unwrap();
            fs::write(place.join("progress.json"), progress).unwrap();
            fs::write(place.join(MANIFEST), name).unwrap();
        }
        root
    }

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_lost_best_checkpoint_is_found_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let root = run(folder.path());
        assert_eq!(store::best(folder.path()), root.join("step-000005-2"));
        assert_eq!(store::last(folder.path()), root.join("step-000015"));
        store::open(&root).unwrap();
        assert_eq!(
            read_link(&root.join("best")).unwrap(),
            Path::new("step-000005-2")
        );
        store::prune(&root, 1, "step-000015");
        assert_eq!(names(&root), ["best", "step-000005-2", "step-000015"]);
    }

    #[test]
    fn a_folder_in_the_place_of_a_link_becomes_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let root = run(folder.path());
        fs::rename(root.join("step-000005-2"), root.join("best")).unwrap();
        fs::rename(root.join("step-000015"), root.join("last")).unwrap();
        store::open(&root).unwrap();
        let all = [
            "best",
            "last",
            "step-000005",
            "step-000005-2",
            "step-000010",
            "step-000015",
        ];
        assert_eq!(names(&root), all);
        assert_eq!(
            read_link(&root.join("best")).unwrap(),
            Path::new("step-000005-2")
        );
        assert_eq!(
            read_link(&root.join("last")).unwrap(),
            Path::new("step-000015")
        );
    }

    #[test]
    fn a_folder_that_is_no_checkpoint_is_refused_in_the_place_of_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let root = run(folder.path());
        let place = root.join("last");
        fs::create_dir(&place).unwrap();
        let line = store::open(&root).err().unwrap().to_string();
        assert!(line.contains(&place.display().to_string()), "{line}");
        assert!(line.ends_with("move it elsewhere"), "{line}");
    }

    /// A name that no run gives is the user's.
    #[test]
    fn a_copy_under_another_name_is_neither_read_nor_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let root = run(folder.path());
        let own = [
            "step-000005-good",
            "step-000010.zip",
            "step-",
            "step-000005-2-3",
        ];
        for name in own {
            fs::write(root.join(name), "mine").unwrap();
        }
        store::prune(&root, 1, "step-000015");
        assert_eq!(store::last(folder.path()), root.join("step-000015"));
        store::clear(&root).unwrap();
        let mut kept = own.map(String::from);
        kept.sort();
        assert_eq!(names(&root), kept);
    }

    #[test]
    fn a_run_without_its_best_checkpoint_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = run(folder.path());
        fs::remove_dir_all(root.join("step-000005-2")).unwrap();
        let line = store::locate(folder.path()).err().unwrap().to_string();
        let named = root.join("step-000015").display().to_string();
        let words = "has lost its best checkpoint, that of epoch 1; name another one: ";
        assert!(line.ends_with(&format!("{words}{named}")), "{line}");
        let located = store::locate(&root.join("step-000015")).unwrap();
        assert_eq!(located.folder, root.join("step-000015"));
    }
}
