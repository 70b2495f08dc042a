//! A rank that fails, hangs or gets a signal is named and ends the job, and the run can be resumed.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use super::{RANDOM, finished, launcher, run, train, workplace};

#[test]
fn an_error_of_one_rank_is_printed_once() {
    let folder = workplace("", RANDOM);
    let unknown = run(train(folder.path(), 2, "run", &["--set", "train.epoch=3"]));
    let errors = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(
        errors.matches("unknown key `train.epoch`").count(),
        1,
        "{errors}"
    );
    assert_eq!(unknown.status.code(), Some(2));

    // The second rank has other data.
    let binary = env!("CARGO_BIN_EXE_shufflenet");
    let set = |seed| {
        let seed = format!("data.options.synthetic.seed={seed}");
        let of = [
            "train",
            "--config",
            "trial.toml",
            "--threads",
            "1",
            "--out",
            "run",
        ];
        let of = of.into_iter().chain(["--set", &seed]);
        of.map(String::from).collect::<Vec<_>>()
    };
    let mut command = launcher();
    command.current_dir(folder.path());
    command.args(["-n", "1", binary]).args(set(1));
    command.args([":", "-n", "1", binary]).args(set(2));
    let output = run(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("error: rank 1 ("), "{errors}");
    assert!(errors.contains("the data's SHA-256 is"), "{errors}");
    assert!(!folder.path().join("run").exists());

    // A key that is set on one rank alone.
    let line = |more: &[&str]| {
        let of = [
            "train",
            "--config",
            "trial.toml",
            "--threads",
            "1",
            "--out",
            "run",
        ];
        of.iter()
            .chain(more)
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let mut command = launcher();
    command.current_dir(folder.path());
    command.args(["-n", "1", binary]).args(line(&[]));
    command
        .args([":", "-n", "1", binary])
        .args(line(&["--set", "train.patience=7"]));
    let errors = String::from_utf8(run(command).stderr).unwrap();
    assert!(
        errors.contains("train.patience is 7, on rank 0 it is unset"),
        "{errors}"
    );
}

/// The first rank alone checks a checkpoint before it writes it. The decay makes weights infinite in the first step.
#[test]
fn a_checkpoint_that_is_not_finite_ends_all_ranks() {
    let folder = workplace("", "");
    let keys = [
        "optimizer.weight_decay=3e38",
        "checkpoint.every_steps=1",
        "cluster.timeout_seconds=60",
    ];
    let extra: Vec<&str> = keys.into_iter().flat_map(|key| ["--set", key]).collect();
    let output = run(train(folder.path(), 2, "run", &extra));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("error: rank 0 (") && errors.contains("is infinite or NaN"),
        "{errors}"
    );
    assert!(!errors.contains("has not answered"), "{errors}");
}

/// A long run of three ranks that has saved a checkpoint, and the process number of each rank.
fn long_run(folder: &Path) -> (Child, Vec<String>) {
    let keys = [
        "train.max_steps=100000",
        "train.log_every=0",
        "cluster.timeout_seconds=4",
    ];
    let extra: Vec<&str> = keys.into_iter().flat_map(|key| ["--set", key]).collect();
    let mut process = train(folder, 3, "run", &extra).spawn().unwrap();
    while !folder.join("run/checkpoints/last").exists() {
        assert!(process.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let children = format!("/proc/{0}/task/{0}/children", process.id());
    let children = std::fs::read_to_string(children).unwrap();
    let ranks: Vec<String> = children.split_whitespace().map(String::from).collect();
    assert_eq!(ranks.len(), 3, "{children}");
    (process, ranks)
}

fn signal(name: &str, process: &str) {
    let sent = Command::new("kill").args([name, process]).status().unwrap();
    assert!(sent.success());
}

/// Checks that the run continues from its last checkpoint, on two ranks.
fn assert_resumes(folder: &Path) {
    let step = |run: &Path| {
        let last = std::fs::read_link(run.join("checkpoints/last")).unwrap();
        let name = last.to_string_lossy().into_owned();
        name.split('-').nth(1).unwrap().parse::<usize>().unwrap()
    };
    let run = folder.join("run");
    let until = step(&run) + 3;
    let steps = format!("train.max_steps={until}");
    finished(train(folder, 2, "run", &["--resume", "--set", &steps]));
    assert_eq!(step(&run), until);
}

#[test]
fn a_rank_that_is_killed_or_hangs_is_named_and_ends_the_job() {
    let folder = workplace("dropout = 0.2", RANDOM);
    let (process, ranks) = long_run(folder.path());
    signal("-KILL", &ranks[1]);
    let output = process.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("process rank 1 with PID"), "{errors}");
    assert_resumes(folder.path());

    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    let (process, ranks) = long_run(folder.path());
    signal("-STOP", &ranks[2]);
    let output = process.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert_eq!(errors.matches("error: ").count(), 1, "{errors}");
    assert!(errors.contains("error: rank 2 ("), "{errors}");
    assert!(
        errors.contains(&format!("process {})", ranks[2])),
        "{errors}"
    );
    assert_resumes(folder.path());
}

/// The first rank cannot write a checkpoint, and the other ranks wait for it.
#[test]
fn a_rank_that_fails_is_named_and_ends_the_job() {
    let folder = workplace("dropout = 0.2", RANDOM);
    let (process, _) = long_run(folder.path());
    let [checkpoints, aside] =
        ["run/checkpoints", "run/aside"].map(|name| folder.path().join(name));
    std::fs::rename(&checkpoints, &aside).unwrap();
    // If the run is writing a checkpoint, it may create the folder again.
    while std::fs::write(&checkpoints, "in the way").is_err() {
        let _ = std::fs::remove_dir_all(&checkpoints);
    }
    let output = process.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.matches("error: ").count(), 1, "{errors}");
    assert!(errors.contains("error: rank 0 ("), "{errors}");
    assert!(errors.contains("checkpoints"), "{errors}");
    std::fs::remove_file(&checkpoints).unwrap();
    std::fs::rename(&aside, &checkpoints).unwrap();
    assert_resumes(folder.path());
}

#[test]
fn a_signal_to_a_rank_or_to_the_launcher_saves_one_checkpoint() {
    for to_launcher in [false, true] {
        let folder = workplace("dropout = 0.2", RANDOM);
        let (process, ranks) = long_run(folder.path());
        let launcher = process.id().to_string();
        signal("-TERM", if to_launcher { &launcher } else { &ranks[1] });
        let output = process.wait_with_output().unwrap();
        let [said, errors] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(!errors.contains("error: "), "{errors}");
        if !to_launcher {
            assert_eq!(output.status.code(), Some(130), "{errors}");
            assert_eq!(said.matches("stopped    at step").count(), 1, "{said}");
        }
        assert_resumes(folder.path());
    }
}
