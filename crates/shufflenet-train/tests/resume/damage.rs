//! Tests of resuming with damaged checkpoints, or with a metrics file that has lost lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{last, metrics, narrow, refusal, train};
use shufflenet_train::checkpoint;
use shufflenet_train::checkpoint::store;
use shufflenet_train::experiment::Experiment;
use shufflenet_train::run::Outcome;
use shufflenet_train::run::folder::Existing;

/// An experiment and its run, which was interrupted early and has two checkpoints.
fn interrupted(folder: &Path) -> (Experiment, PathBuf) {
    let overrides = [
        "train.epochs=20",
        "train.ema_decay=0.9",
        "checkpoint.every_steps=4",
    ];
    let experiment = narrow(folder, &overrides);
    let run = folder.join("run");
    let outcome = train(&experiment, &run, Existing::Refuse, 10);
    assert!(matches!(outcome, Outcome::Interrupted));
    (experiment, run)
}

#[test]
fn a_damaged_file_is_named_and_the_checkpoint_before_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (_, run) = interrupted(folder.path());
    let root = run.join("checkpoints");
    let newest = root.join(store::newest(&root).unwrap().unwrap().name);
    let mut files = Vec::new();
    for entry in fs::read_dir(&newest).unwrap() {
        let file = entry.unwrap().path();
        let intact = fs::read(&file).unwrap();
        let mut flipped = intact.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        for damaged in [&flipped[..], &intact[..intact.len() - 2], &intact[..0]] {
            fs::write(&file, damaged).unwrap();
            let found = store::newest(&root).unwrap().unwrap();
            let line = found.damaged[0].to_string();
            assert_ne!(root.join(found.name), newest);
            assert!(line.contains(newest.to_str().unwrap()), "{line}");
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(store::newest(&root).unwrap().unwrap().damaged.len(), 1);
        fs::write(&file, intact).unwrap();
        files.push(file.file_name().unwrap().to_owned());
    }
    assert!(store::newest(&root).unwrap().unwrap().damaged.is_empty());
    files.sort();
    let all = [
        "classifier.json",
        "ema.safetensors",
        "manifest.json",
        "model.safetensors",
        "optimizer.safetensors",
        "progress.json",
    ];
    assert_eq!(files, all);
}

#[test]
fn a_run_with_a_damaged_checkpoint_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (experiment, run) = interrupted(folder.path());
    let whole = folder.path().join("whole");
    train(&experiment, &whole, Existing::Refuse, usize::MAX);
    fs::write(run.join("checkpoints/last/model.safetensors"), "nothing").unwrap();
    train(&experiment, &run, Existing::Resume, usize::MAX);
    assert!(last(&run).weights == last(&whole).weights);
    assert_eq!(metrics(&run), metrics(&whole));
}

#[test]
fn no_new_run_starts_if_all_checkpoints_are_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (experiment, run) = interrupted(folder.path());
    for entry in fs::read_dir(run.join("checkpoints")).unwrap() {
        fs::write(entry.unwrap().path().join("progress.json"), "{}").unwrap();
    }
    let line = refusal(&experiment, &run);
    assert!(line.contains("progress.json: damaged"), "{line}");
}

#[test]
fn a_half_written_checkpoint_is_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (experiment, run) = interrupted(folder.path());
    let half = run.join("checkpoints/.step-000011.partial");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("model.safetensors"), "half").unwrap();
    train(&experiment, &run, Existing::Resume, usize::MAX);
    assert!(!half.exists());
}

#[test]
fn metrics_that_were_lost_do_not_stop_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let (experiment, run) = interrupted(folder.path());
    let file = run.join("metrics.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let left = text.len() / 2;
    fs::write(&file, &text[..left]).unwrap();
    let mut keeping = experiment;
    keeping.checkpoint.keep = 1000;
    let step = last(&run).progress.step;
    let before = saved_at(&run, step);
    train(&keeping, &run, Existing::Resume, usize::MAX);
    // Every remaining line can be read, and the last line is the end of the run.
    assert_eq!(metrics(&run).last().unwrap()["event"], "test");
    // The resumed run at once saved a checkpoint with the new length of the file, in case a kill follows.
    let after = saved_at(&run, step);
    let [again] = Vec::from_iter(after.difference(&before))[..] else {
        panic!("{before:?} became {after:?}");
    };
    let again = checkpoint::load(again).unwrap().progress;
    assert!(again.step == step && again.metrics_bytes <= left as u64);
}

/// The checkpoints of a step. There are two if the run was interrupted at a step that it saved anyway.
fn saved_at(run: &Path, step: usize) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(run.join("checkpoints")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let name = format!("step-{step:06}");
    paths
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&name)
        })
        .collect()
}

#[test]
fn a_newer_format_is_refused_and_not_treated_as_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (experiment, run) = interrupted(folder.path());
    let manifest = run.join("checkpoints/last/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let newer = text.replace("\"format\": 1,", "\"format\": 2, \"shards\": [],");
    assert_ne!(newer, text);
    fs::write(&manifest, newer).unwrap();
    let line = refusal(&experiment, &run);
    assert!(
        line.ends_with("has format 2, this version reads up to 1: use a newer shufflenet"),
        "{line}"
    );
}
