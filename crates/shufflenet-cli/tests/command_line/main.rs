//! Tests of the binary from a user's side: the answers to wrong input, and a run from its start to
//! its evaluation.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod commands;
mod configuration;
mod summary;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture() -> PathBuf {
    repository().join("crates/shufflenet-data/tests/fixtures/cifar10-format")
}

/// A folder with a copy of the CIFAR-format fixture, and an experiment that trains on it.
fn workplace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("cifar");
    std::fs::create_dir(&data).unwrap();
    for entry in std::fs::read_dir(fixture()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), data.join(entry.file_name())).unwrap();
    }
    let text = "[model]\nscale = 0.5\n[data]\nformat = \"cifar10\"\nroot = \"cifar\"\n\
                [train]\nepochs = 1\nbatch_size = 20\n";
    std::fs::write(folder.path().join("trial.toml"), text).unwrap();
    folder
}

fn shufflenet(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("shufflenet").unwrap();
    command.current_dir(folder).args(arguments);
    command
}

/// Checks that the command with `arguments` fails with `code` and prints one line, which is the result.
fn refusal(folder: &Path, arguments: &[&str], code: i32) -> String {
    let assert = shufflenet(folder, arguments).assert().code(code);
    let output = assert.get_output();
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(
        line.trim_end().lines().count(),
        1,
        "more than one line: {line}"
    );
    assert!(output.stdout.is_empty());
    line
}

fn refused_training(folder: &Path, assignment: &str, code: i32) -> String {
    let arguments = ["train", "--config", "trial.toml", "--set", assignment];
    refusal(folder, &arguments, code)
}
