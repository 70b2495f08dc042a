//! Tests of a run that is stopped from outside (a kill, a signal, a second process, a full disk), and of what it leaves.
//! `scripts/kill_and_resume.py` is the long version of the first test.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod seeds;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A folder with a small experiment that uses every kind of stored state and saves after every step.
fn workplace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist-small");
    let text = format!(
        "[model]\nstem = \"imagenet\"\ninput_channels = 1\nwidths = [8, 16, 24, 32, 48]\n\
         repeats = [1, 1, 1]\ndropout = 0.2\n\
         [data]\nformat = \"idx\"\nroot = {root:?}\nlimit = 250\nvalidation = 0.02\n\
         augmentation = {{ crop_padding = 2, flip = true }}\n\
         [train]\nepochs = 4\nbatch_size = 16\naccumulate = 2\nema_decay = 0.9\nlog_every = 1\n\
         [checkpoint]\nevery_steps = 1\n"
    );
    std::fs::write(folder.path().join("trial.toml"), text).unwrap();
    folder
}

fn train(folder: &Path, out: &str, extra: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shufflenet"));
    command
        .current_dir(folder)
        .args(["train", "--config", "trial.toml", "--out", out])
        .args(extra)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Starts `command` and waits until `moment` is true or the process has ended.
fn start(mut command: Command, moment: impl Fn() -> bool) -> Child {
    let mut process = command.spawn().unwrap();
    while process.try_wait().unwrap().is_none() && !moment() {
        std::thread::sleep(Duration::from_micros(200));
    }
    process
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn writes_a_checkpoint(run: &Path) -> bool {
    let names = names(&run.join("checkpoints"));
    names.iter().any(|name| name.starts_with(".step-"))
}

/// The files of the last checkpoint and the metrics, without images per second and numbers of bytes.
fn end(run: &Path) -> (BTreeMap<String, Vec<u8>>, Vec<serde_json::Value>) {
    let folder = run.join("checkpoints/last");
    let tensors = names(&folder);
    let tensors = tensors
        .into_iter()
        .filter(|name| name.ends_with(".safetensors"));
    let files = tensors.map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap()));
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let parse = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        for clock in ["img_per_s", "time"] {
            line.as_object_mut().unwrap().remove(clock).unwrap();
        }
        line
    };
    (files.collect(), text.lines().map(parse).collect())
}

fn assert_success(output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

fn one_line(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_killed_run_ends_with_the_bits_of_an_uninterrupted_run() {
    let folder = workplace();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let alone = ["--set", "data.workers=0", "--threads", "1"];
    assert_success(&train(folder.path(), "whole", &alone).output().unwrap());

    let resume = ["--resume", "--threads", "2"];
    let first = train(folder.path(), "killed", &resume[1..]);
    let mut process = start(first, || killed.join("metrics.jsonl").exists());
    process.kill().unwrap();
    process.wait().unwrap();
    for _ in 0..4 {
        let again = train(folder.path(), "killed", &resume);
        let begun = std::time::Instant::now();
        let mut process = start(again, || {
            begun.elapsed() > Duration::from_millis(60) && writes_a_checkpoint(&killed)
        });
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert_success(&train(folder.path(), "killed", &resume).output().unwrap());
    assert!(!writes_a_checkpoint(&killed));
    let ((files, metrics), (killed_files, killed_metrics)) = (end(&whole), end(&killed));
    assert_eq!(files.len(), 3);
    for (name, content) in files {
        assert!(content == killed_files[&name], "{name} differs");
    }
    assert_eq!(metrics, killed_metrics);
}

#[cfg(unix)]
#[test]
fn a_signal_saves_a_checkpoint_and_a_second_process_is_refused() {
    let folder = workplace();
    let run = folder.path().join("run");
    let long = ["--set", "train.epochs=10000"];
    let resume = [&long[..], &["--resume"]].concat();
    let process = start(train(folder.path(), "run", &long), || {
        run.join("checkpoints/last").exists()
    });
    for extra in [&resume[..], &[&long[..], &["--force"]].concat()] {
        let line = one_line(&train(folder.path(), "run", extra).output().unwrap(), 1);
        assert!(line.contains("in use by another"), "{line}");
    }
    let id = process.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let (_, metrics) = end(&run);
    let last: PathBuf = std::fs::read_link(run.join("checkpoints/last")).unwrap();
    let step = metrics.last().unwrap()["step"].as_u64().unwrap();
    let saved = last.to_string_lossy().into_owned();
    assert!(saved.starts_with(&format!("step-{step:06}")), "{saved}");
}

/// `ulimit -f` takes the place of a full disk: a write fails half way.
#[cfg(unix)]
#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_earlier_ones() {
    let folder = workplace();
    let run = folder.path().join("run");
    let three = ["--set", "train.max_steps=3"];
    assert_success(&train(folder.path(), "run", &three).output().unwrap());
    let before = names(&run.join("checkpoints"));

    let more = ["--set", "train.max_steps=6", "--resume"];
    let unlimited = train(folder.path(), "run", &more);
    let limited = Command::new("sh")
        .current_dir(folder.path())
        .args(["-c", "ulimit -f 30; exec \"$0\" \"$@\" >/dev/null"])
        .arg(unlimited.get_program())
        .args(unlimited.get_args())
        .output();
    let line = one_line(&limited.unwrap(), 1);
    assert!(
        line.contains("checkpoints/.step-000004.partial/model.safetensors: File too large"),
        "{line}"
    );
    assert_eq!(names(&run.join("checkpoints")), before);
    assert_success(&train(folder.path(), "run", &more).output().unwrap());
    let (_, metrics) = end(&run);
    let steps = metrics.iter().filter(|line| line["event"] == "step");
    let steps: Vec<u64> = steps.map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_dry_run_tries_everything_and_leaves_no_files() {
    let folder = workplace();
    let mut command = train(folder.path(), "run", &["--dry-run"]);
    let output = command.stdout(Stdio::piped()).output().unwrap();
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "step ",
        "evaluation 16 images",
        "checkpoint ",
        "nothing was kept",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert_eq!(names(folder.path()), ["trial.toml"]);
}
