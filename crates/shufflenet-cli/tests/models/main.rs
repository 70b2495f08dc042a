//! Tests of the commands on a trained network, from a user's side: eval, predict, export, import, report.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod evaluation;
mod exchange;
mod predict;
mod refusals;
mod report;
mod shipped;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder with a run on the CIFAR-format fixture, with a moving average. It is trained once for all tests.
static TRAINED: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let data = repository().join("crates/shufflenet-data/tests/fixtures/cifar10-format");
    let text = format!(
        "[model]\nscale = 0.5\nstem = \"cifar\"\n[data]\nformat = \"cifar10\"\nroot = {data:?}\nlimit = 30\n\
         [train]\nepochs = 2\nbatch_size = 20\nema_decay = 0.5\n"
    );
    fs::write(folder.path().join("trial.toml"), text).unwrap();
    shufflenet(folder.path(), &["train", "--config", "trial.toml"])
        .assert()
        .success();
    folder
});

fn shufflenet(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("shufflenet").unwrap();
    command.current_dir(folder).args(arguments);
    command
}

fn run() -> String {
    TRAINED.path().join("runs/trial").display().to_string()
}

fn printed(folder: &Path, arguments: &[&str]) -> String {
    let assert = shufflenet(folder, arguments).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(folder, arguments)).unwrap()
}

/// Checks that the command with `arguments` fails with `code` and prints only errors, which are the result.
fn refusal(folder: &Path, arguments: &[&str], code: i32) -> String {
    let assert = shufflenet(folder, arguments).assert().code(code);
    let output = assert.get_output();
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn eval(folder: &Path, checkpoint: &str, more: &[&str]) -> Value {
    json(
        folder,
        &[&["eval", "--checkpoint", checkpoint, "--json"], more].concat(),
    )
}
