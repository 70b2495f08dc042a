//! Answers to wrong commands, damaged data and missing devices, and a run from its start to its evaluation.

use super::{refusal, refused_training, shufflenet, workplace};

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
