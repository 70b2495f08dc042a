//! Runs that were copied without their links, and folders that only look like a run.

use std::fs;
use std::path::Path;

use crate::{last, metrics, narrow, options, start, train};
use shufflenet_train::Interrupter;
use shufflenet_train::display::console::Console;
use shufflenet_train::run::folder::Existing;

/// Puts a copy of the checkpoint in the place of a link, as `cp -rL` does.
#[cfg(unix)]
fn follow(link: &Path) {
    let target = fs::canonicalize(link).unwrap();
    fs::remove_file(link).unwrap();
    fs::create_dir(link).unwrap();
    for entry in fs::read_dir(target).unwrap() {
        let file = entry.unwrap();
        fs::copy(file.path(), link.join(file.file_name())).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_copy_with_folders_in_the_place_of_links_resumes_to_the_same_end() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = narrow(folder.path(), &["train.epochs=3"]);
    let [whole, copied, bare] = ["whole", "copied", "bare"].map(|name| folder.path().join(name));
    train(&experiment, &whole, Existing::Refuse, usize::MAX);
    for run in [&copied, &bare] {
        train(&experiment, run, Existing::Refuse, 10);
        for name in ["best", "last"] {
            let link = run.join("checkpoints").join(name);
            match run == &copied {
                true => follow(&link),
                false => fs::remove_file(link).unwrap(),
            }
        }
        train(&experiment, run, Existing::Resume, usize::MAX);
        assert!(last(run).weights == last(&whole).weights);
        assert_eq!(metrics(run), metrics(&whole));
        assert!(run.join("checkpoints/best/manifest.json").is_file());
    }
}

/// The best epoch of a finished run may be its last, so that both links of a copy are folders of the same checkpoint.
#[cfg(unix)]
#[test]
fn a_copy_of_a_finished_run_trains_on() {
    let folder = tempfile::tempdir().unwrap();
    let [short, long] = ["train.epochs=1", "train.epochs=2"]
        .map(|epochs| narrow(folder.path(), &[epochs, "schedule.kind=constant"]));
    let [whole, copied] = ["whole", "copied"].map(|name| folder.path().join(name));
    train(&long, &whole, Existing::Refuse, usize::MAX);
    train(&short, &copied, Existing::Refuse, usize::MAX);
    assert!(last(&copied).progress.is_best());
    for name in ["best", "last"] {
        follow(&copied.join("checkpoints").join(name));
    }
    train(&long, &copied, Existing::Resume, usize::MAX);
    assert!(last(&copied).weights == last(&whole).weights);
}

#[test]
fn a_best_epoch_whose_checkpoint_is_gone_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = ["train.epochs=3", "checkpoint.keep=9"];
    let experiment = narrow(folder.path(), &overrides);
    for points_elsewhere in [false, true] {
        let run = folder.path().join(points_elsewhere.to_string());
        train(&experiment, &run, Existing::Refuse, 10);
        // The only evaluation was that of the first epoch.
        let root = run.join("checkpoints");
        fs::remove_dir_all(fs::canonicalize(root.join("best")).unwrap()).unwrap();
        fs::remove_file(root.join("best")).unwrap();
        #[cfg(unix)]
        if points_elsewhere {
            let other = fs::read_link(root.join("last")).unwrap();
            std::os::unix::fs::symlink(other, root.join("best")).unwrap();
        }
        train(&experiment, &run, Existing::Resume, usize::MAX);
        assert!(root.join("best/manifest.json").is_file());
        assert!(last(&run).progress.best.unwrap().epoch > 1);
    }
}

#[test]
fn a_folder_with_a_configuration_of_the_users_is_not_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = narrow(folder.path(), &["train.epochs=1"]);
    let place = folder.path().join("place");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("config.toml"), "# mine\n").unwrap();
    for existing in [Existing::Refuse, Existing::Replace, Existing::Resume] {
        let options = options(&place, existing);
        let refused = start(
            &experiment,
            &options,
            &Interrupter::new(),
            &mut Console::new(),
        );
        let line = refused.err().unwrap().to_string();
        assert!(
            line.contains("is not empty and is not a run folder"),
            "{line}"
        );
    }
    assert_eq!(
        fs::read_to_string(place.join("config.toml")).unwrap(),
        "# mine\n"
    );
}

#[test]
fn replacing_a_run_keeps_the_users_files_and_deletes_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = narrow(folder.path(), &["train.epochs=1"]);
    let run = folder.path().join("run");
    train(&experiment, &run, Existing::Refuse, usize::MAX);
    for name in ["notes.txt", "report.html", "checkpoints/epoch90.pt"] {
        fs::write(run.join(name), "mine").unwrap();
    }
    let shorter = narrow(folder.path(), &["train.max_steps=2"]);
    train(&shorter, &run, Existing::Replace, usize::MAX);
    assert_eq!(last(&run).progress.step, 2);
    assert!(run.join("notes.txt").is_file() && run.join("checkpoints/epoch90.pt").is_file());
    assert!(!run.join("report.html").exists());
}
