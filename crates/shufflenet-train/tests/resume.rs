//! A run that is interrupted and resumed ends with the bits of one that never was: weights,
//! optimizer state, progress and metrics (speeds aside).
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use shufflenet_train::Interrupter;
use shufflenet_train::checkpoint::{self, Checkpoint};
use shufflenet_train::console::Console;
use shufflenet_train::experiment::Experiment;
use shufflenet_train::fit::{Options, Outcome, fit};
use shufflenet_train::run_folder::Existing;
use shufflenet_train::settings;

/// Two epochs of eight steps on the bundled images, momentum and warm-up included.
fn experiment(folder: &Path, overrides: &[&str]) -> Experiment {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist-small");
    let file = folder.join("trial.toml");
    let text = format!(
        "[model]\nscale = 0.5\ninput_channels = 1\n\
         [data]\nformat = \"idx\"\nroot = {root:?}\nlimit = 250\nvalidation = 0.02\n\
         augmentation = {{ crop_padding = 2, flip = true }}\n\
         [train]\nepochs = 2\nbatch_size = 32\nlog_every = 1\n\
         [schedule]\nwarmup_epochs = 0.5\n"
    );
    std::fs::write(&file, text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    settings::load(&file, &overrides).unwrap()
}

fn train(experiment: &Experiment, out: &Path, existing: Existing, stop_at: usize) -> Outcome {
    let interrupter = Interrupter::new();
    let options = Options {
        device: "flex".into(),
        threads: 1,
        out: out.into(),
        existing,
    };
    let watched = (interrupter.clone(), out.join("metrics.jsonl"));
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let (interrupter, metrics) = watched;
            // Until the run is over, or has logged the step to stop at.
            while is_done.recv_timeout(Duration::from_millis(5))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                let text = std::fs::read_to_string(&metrics).unwrap_or_default();
                if text.contains(&format!("\"step\":{stop_at},")) {
                    interrupter.stop(None);
                }
            }
        });
        let outcome = fit(experiment, &options, &interrupter, &mut Console::new()).unwrap();
        drop(done);
        outcome
    })
}

fn last(run: &Path) -> Checkpoint {
    checkpoint::load(&run.join("checkpoints/last")).unwrap()
}

/// The metrics without what depends on the clock.
fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let parse = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("img_per_s").unwrap();
        line
    };
    text.lines().map(parse).collect()
}

#[test]
fn an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one() {
    check_interruption(&[]);
}

/// Dropout draws from the device's own generator, the only test here that does: it is one for the whole
/// process.
#[test]
fn so_it_does_with_dropout() {
    check_interruption(&["model.dropout=0.3", "model.squeeze_excitation=true"]);
}

fn check_interruption(overrides: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let experiment = experiment(folder.path(), overrides);
    let whole: PathBuf = folder.path().join("whole");
    let parts: PathBuf = folder.path().join("parts");

    let outcome = train(&experiment, &whole, Existing::Refuse, usize::MAX);
    assert!(matches!(outcome, Outcome::Finished));

    let outcome = train(&experiment, &parts, Existing::Refuse, 3);
    assert!(matches!(outcome, Outcome::Interrupted));
    let stopped = last(&parts).progress;
    assert!(
        stopped.batch >= 3 && stopped.step < 16,
        "stopped at {stopped:?}"
    );
    let outcome = train(&experiment, &parts, Existing::Resume, 11);
    assert!(matches!(outcome, Outcome::Interrupted));
    let outcome = train(&experiment, &parts, Existing::Resume, usize::MAX);
    assert!(matches!(outcome, Outcome::Finished));

    let (whole_end, parts_end) = (last(&whole), last(&parts));
    assert!(whole_end.weights == parts_end.weights, "weights differ");
    assert!(
        whole_end.optimizer == parts_end.optimizer,
        "optimizer differs"
    );
    assert_eq!(whole_end.progress.tally, parts_end.progress.tally);
    assert_eq!(whole_end.progress.best, parts_end.progress.best);
    assert_eq!(metrics(&whole), metrics(&parts));
}

#[test]
fn metrics_of_steps_that_no_checkpoint_holds_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = experiment(folder.path(), &["train.epochs=1"]);
    let run = folder.path().join("run");
    train(&experiment, &run, Existing::Refuse, 2);
    let file = run.join("metrics.jsonl");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("{\"event\":\"step\",\"step\":7,\"torn");
    std::fs::write(&file, text).unwrap();
    train(&experiment, &run, Existing::Resume, usize::MAX);
    let steps: Vec<u64> = metrics(&run)
        .iter()
        .filter(|line| line["event"] == "step")
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=8).collect::<Vec<u64>>());
}

#[test]
fn resuming_with_another_experiment_is_refused_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let first = experiment(folder.path(), &["train.epochs=1"]);
    train(&first, &run, Existing::Refuse, 1);
    let other = experiment(folder.path(), &["train.epochs=1", "optimizer.momentum=0.5"]);
    let options = Options {
        device: "flex".into(),
        threads: 1,
        out: run,
        existing: Existing::Resume,
    };
    let refusal = fit(&other, &options, &Interrupter::new(), &mut Console::new());
    let line = refusal.err().unwrap().to_string();
    assert!(
        line.contains("optimizer.momentum = 0.9, now it is 0.5"),
        "{line}"
    );
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = experiment(folder.path(), &["checkpoint.keep=2"]);
    let run = folder.path().join("run");
    train(&experiment, &run, Existing::Refuse, usize::MAX);
    let weights = run.join("checkpoints/last/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let (found, damaged) = checkpoint::newest(&run.join("checkpoints"))
        .unwrap()
        .unwrap();
    assert_eq!(found.progress.epochs, 1);
    let line = damaged[0].to_string();
    assert!(
        line.contains("model.safetensors") && line.contains("SHA-256"),
        "{line}"
    );
}
