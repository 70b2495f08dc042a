//! Tests of the binary from a user's side: the answers to wrong input, and a run from its start to
//! its evaluation.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

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

#[test]
fn wrong_configuration_is_answered_with_key_and_accepted_values() {
    let folder = workplace();
    let line = refused_training(folder.path(), "train.epoch=3", 2);
    assert!(line.contains("did you mean `train.epochs`?"), "{line}");
    let line = refused_training(folder.path(), "train.epochs=\"many\"", 2);
    assert!(
        line.contains("train.epochs") && line.contains("many") && line.contains("a whole number"),
        "{line}"
    );
    let line = refused_training(folder.path(), "model.scale=0.7", 2);
    assert!(
        line.contains("0.7") && line.contains("0.5, 1.0, 1.5, 2.0"),
        "{line}"
    );
    let line = refused_training(folder.path(), "model.classes=7", 2);
    assert!(line.contains("model.classes is 7; accepted: 10"), "{line}");
    let line = refusal(folder.path(), &["train", "--config", "none.toml"], 1);
    assert!(line.contains("none.toml"), "{line}");
    assert_eq!(line.matches("No such file").count(), 1, "{line}");
}

#[test]
fn a_wrong_value_is_reported_with_its_source() {
    let folder = workplace();
    let line = refused_training(folder.path(), "train.epochs=abc", 2);
    assert_eq!(
        line.trim_end(),
        "error: --set train.epochs=abc: train.epochs is \"abc\"; accepted: a whole number from 1"
    );
    let line = refusal(folder.path(), &["summary", "--scale", "0.7"], 2);
    assert_eq!(
        line.trim_end(),
        "error: --scale 0.7: model.scale is 0.7; accepted: 0.5, 1.0, 1.5, 2.0"
    );
    std::fs::write(folder.path().join("bad.toml"), "[data]\nroot = 3\n").unwrap();
    let line = refusal(folder.path(), &["train", "--config", "bad.toml"], 2);
    assert_eq!(
        line.trim_end(),
        "error: bad.toml: data.root is 3; accepted: a path"
    );
}

#[test]
fn a_wrong_command_is_answered_with_one_line_and_the_usage() {
    let folder = workplace();
    let line = refusal(folder.path(), &["train", "--config"], 2);
    assert_eq!(line.trim_end(), "error: --config needs a value");
    let assert = shufflenet(folder.path(), &["eval", "--checkpiont", "x"]).assert();
    let output = assert.code(2).get_output().clone();
    let lines = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(
        lines[0],
        "error: unknown flag --checkpiont; did you mean --checkpoint?"
    );
    assert!(
        lines[1].starts_with("Usage: shufflenet eval ") && lines.len() == 2,
        "{lines:?}"
    );
}

#[cfg(not(feature = "mpi"))]
#[test]
fn a_binary_without_mpi_is_refused_under_mpirun() {
    let folder = workplace();
    // The variables of `mpirun -n 2` by Open MPI, by MPICH, and of `srun --mpi=pmix -n 2`.
    for variables in [
        &[("OMPI_COMM_WORLD_SIZE", "2")][..],
        &[("PMI_SIZE", "2")],
        &[("PMIX_RANK", "0"), ("SLURM_STEP_NUM_TASKS", "2")],
    ] {
        let mut command = shufflenet(folder.path(), &["train", "--config", "trial.toml"]);
        let assert = command.envs(variables.iter().copied()).assert().code(2);
        let line = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(line.contains("--features mpi"), "{line}");
        assert!(!folder.path().join("runs").exists());
    }
}

#[test]
fn a_refused_value_is_named_by_its_whole_key() {
    let folder = workplace();
    for (key, value) in [
        ("data.validation", "0.001"),
        ("data.normalization", "{mean=[0.5], std=[0.5]}"),
        ("data.options.size", "0"),
        ("data.augmentation.crop_padding", "999"),
        ("data.augmentation.color_jitter.hue", "0.7"),
        ("data.augmentation.rand_augment.magnitude", "99"),
        ("data.augmentation.random_erasing.probability", "2"),
        ("data.augmentation.mixing.mixup", "-1"),
        ("model.split_ratio", "1.5"),
        ("model.repeats", "[3, 7, 3000]"),
        ("optimizer.momentum", "1"),
        ("train.ema_decay", "1"),
        ("loss.label_smoothing", "1"),
        ("schedule.warmup_epochs", "-1"),
        ("checkpoint.every_minutes", "-1"),
    ] {
        let line = refused_training(folder.path(), &format!("{key}={value}"), 2);
        // What only the data can refuse has no origin.
        let line = line.replace(&format!("--set {key}={value}: "), "");
        assert!(line.starts_with(&format!("error: {key}")), "{line}");
    }
}

#[test]
fn damaged_data_is_reported_with_the_file_and_both_sizes() {
    let folder = workplace();
    let file = folder.path().join("cifar/data_batch_3.bin");
    let intact = std::fs::read(&file).unwrap();
    std::fs::write(&file, &intact[..intact.len() - 100]).unwrap();
    let line = refused_training(folder.path(), "train.epochs=1", 1);
    assert!(line.contains("data_batch_3.bin"), "{line}");
    assert!(line.contains(&(intact.len() - 100).to_string()), "{line}");

    let mut foreign = intact;
    foreign[3073] = 17;
    std::fs::write(&file, foreign).unwrap();
    let line = refused_training(folder.path(), "train.epochs=1", 1);
    assert!(
        line.contains("data_batch_3.bin") && line.contains("17"),
        "{line}"
    );

    let line = refused_training(folder.path(), "data.root=nowhere", 1);
    assert!(
        line.contains("nowhere") && line.contains("scripts/fetch_cifar10.py"),
        "{line}"
    );
}

#[test]
fn an_idx_file_with_a_wrong_magic_is_named() {
    let folder = workplace();
    let data = folder.path().join("idx");
    std::fs::create_dir(&data).unwrap();
    for part in ["train", "t10k"] {
        for (what, magic) in [("images-idx3", 2052u32), ("labels-idx1", 2049)] {
            let file = data.join(format!("{part}-{what}-ubyte"));
            std::fs::write(file, [magic.to_be_bytes(), [0; 4], [0; 4], [0; 4]].concat()).unwrap();
        }
    }
    let arguments = [
        "train",
        "--config",
        "trial.toml",
        "--set",
        "data.format=idx",
    ];
    let arguments = [&arguments[..], &["--set", "data.root=idx"]].concat();
    let line = refusal(folder.path(), &arguments, 1);
    assert!(line.contains("2052") && line.contains("2051"), "{line}");
}

#[test]
fn unknown_devices_and_folders_that_are_no_checkpoints_are_refused() {
    let folder = workplace();
    let device = |name| ["train", "--config", "trial.toml", "--device", name];
    let line = refusal(folder.path(), &device("tpu"), 2);
    assert!(line.contains("tpu") && line.contains("flex"), "{line}");
    let line = refusal(folder.path(), &["eval", "--checkpoint", "trial.toml"], 1);
    assert!(
        line.contains("trial.toml") && line.contains("is not a checkpoint"),
        "{line}"
    );
    let line = refusal(folder.path(), &["eval", "--checkpoint", "cifar"], 1);
    assert!(
        line.contains("neither a checkpoint nor a run folder"),
        "{line}"
    );
    assert!(
        !folder.path().join("runs").exists(),
        "a refused run left a folder"
    );
}

#[cfg(not(feature = "tui"))]
#[test]
fn a_dashboard_that_is_not_built_in_names_its_feature() {
    let folder = workplace();
    let line = refusal(
        folder.path(),
        &["train", "--config", "trial.toml", "--tui"],
        2,
    );
    assert!(line.contains("--features tui"), "{line}");
}

#[test]
fn devices_that_are_missing_are_listed_with_the_reason() {
    let folder = workplace();
    let assert = shufflenet(folder.path(), &["devices", "--json"]).assert();
    let output = &assert.success().get_output().stdout.clone();
    let listing: serde_json::Value = serde_json::from_slice(output).unwrap();
    let device = |name: &str| {
        let mut devices = listing["devices"].as_array().unwrap().iter();
        devices.find(|device| device["name"] == name)
    };
    assert_eq!(device("flex").unwrap()["available"], true);
    for backend in ["wgpu", "vulkan", "cuda"] {
        // If the backend is built in, its adapters are listed instead.
        let Some(absent) = device(backend) else {
            continue;
        };
        assert_eq!(absent["available"], false);
        let run = ["train", "--config", "trial.toml", "--device", backend];
        let missing = absent["description"].as_str().unwrap();
        let code = if missing.contains("not built in") {
            2
        } else {
            1
        };
        let line = refusal(folder.path(), &run, code);
        assert!(line.contains(backend), "{line}");
    }
}

#[test]
fn a_run_trains_is_not_overwritten_and_evaluates_to_the_reported_figures() {
    let folder = workplace();
    let train = ["train", "--config", "trial.toml"];
    let assert = shufflenet(folder.path(), &train).assert().success();
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    for part in [
        "epoch 1/1",
        "train: loss",
        "test: loss",
        "top-5",
        "img/s",
        "lr ",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "control codes without a terminal");

    let line = refusal(folder.path(), &train, 2);
    assert!(
        line.contains("--resume") && line.contains("--force"),
        "{line}"
    );

    let metrics = std::fs::read_to_string(folder.path().join("runs/trial/metrics.jsonl")).unwrap();
    let reported: serde_json::Value = metrics
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|line| line["event"] == "epoch" && line["split"] == "test")
        .unwrap();
    std::fs::remove_file(folder.path().join("runs/trial/metrics.jsonl")).unwrap();
    let eval = ["eval", "--checkpoint", "runs/trial", "--json"];
    let assert = shufflenet(folder.path(), &eval).assert().success();
    let report: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    for key in ["loss", "top1", "top5", "count"] {
        assert_eq!(report[key], reported[key], "{key}");
    }
    assert_eq!(report["parameters"], 352_042);
}

#[test]
fn the_resolved_experiment_can_be_printed_and_read_again() {
    let folder = workplace();
    let arguments = ["train", "--config", "trial.toml", "--print-config"];
    let assert = shufflenet(folder.path(), &arguments).assert().success();
    std::fs::write(
        folder.path().join("again.toml"),
        &assert.get_output().stdout,
    )
    .unwrap();
    let again = ["train", "--config", "again.toml", "--print-config"];
    let assert_again = shufflenet(folder.path(), &again).assert().success();
    assert_eq!(assert.get_output().stdout, assert_again.get_output().stdout);
}

fn summary(folder: &Path, arguments: &[&str]) -> String {
    let arguments = [&["summary"], arguments].concat();
    let assert = shufflenet(folder, &arguments).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn summary_takes_a_network_from_flags_or_from_a_file() {
    let folder = workplace();
    let flags = ["--scale", "0.5", "--layout", "seed", "--stem", "cifar"];
    let json = summary(folder.path(), &[&flags[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["parameters"], 352_042);
    assert_eq!(json["multiply_adds"], 10_902_016);
    assert_eq!(json["input"], serde_json::json!([3, 32, 32]));
    let layers = json["layers"].as_array().unwrap();
    for key in ["parameters", "multiply_adds"] {
        let sum: u64 = layers.iter().map(|row| row[key].as_u64().unwrap()).sum();
        assert_eq!(json[key], sum, "{key}");
    }
    let text = summary(folder.path(), &flags);
    assert!(
        text.ends_with("total  352042 parameters, 10.90 M multiply-adds\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), layers.len() + 3);

    let file = [
        "--config",
        "trial.toml",
        "--input",
        "1x64x48",
        "--set",
        "model.classes=1000",
    ];
    let text = summary(folder.path(), &file);
    let first = text.lines().next().unwrap();
    let expected =
        "standard network of scale 0.5 with 1000 classes, imagenet stem, images of 1x64x48";
    assert_eq!(first, expected);
}

#[test]
fn a_network_that_cannot_work_is_refused_by_summary_and_train() {
    let folder = workplace();
    let line = refusal(folder.path(), &["summary", "--scale", "0.7"], 2);
    assert!(
        line.contains("model.scale") && line.contains("0.5, 1.0, 1.5, 2.0"),
        "{line}"
    );
    let small = ["summary", "--layout", "seed", "--input", "3x4x4"];
    let line = refusal(folder.path(), &small, 2);
    assert!(
        line.contains("4x4") && line.contains("5x5 and larger"),
        "{line}"
    );
    for (assignment, answer) in [
        (
            "model.widths=[24, 48, 97, 192, 1024]",
            "cannot share the 97 channels",
        ),
        ("model.split_ratio=0.001", "leaves a branch empty"),
        (
            "model.split_ratio=2",
            "split_ratio = 2: above 0 and below 1 is accepted",
        ),
        ("model.dropout=1", "dropout = 1: 0 to below 1 is accepted"),
        (
            "model.repeats=[3, 7, 99]",
            "repeats[2] = 99: 0 to 64 is accepted",
        ),
    ] {
        let line = refusal(folder.path(), &["summary", "--set", assignment], 2);
        assert!(line.contains(answer), "{line}");
        let line = refused_training(folder.path(), assignment, 2);
        assert!(line.contains(answer), "{line}");
    }
    assert!(
        !folder.path().join("runs").exists(),
        "a refused run left a folder"
    );
}

/// A path may have bytes that are not valid UTF-8.
#[cfg(unix)]
#[test]
fn arguments_need_not_be_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = workplace();
    let mut command = shufflenet(folder.path(), &["train", "--config", "trial.toml"]);
    let out = OsStr::from_bytes(b"run-\xff");
    command
        .args(["--dry-run", "--out"])
        .arg(out)
        .assert()
        .success();
}
