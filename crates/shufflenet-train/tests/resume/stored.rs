//! Tests of a stored checkpoint of format 1: every later version must evaluate and resume it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shufflenet_train::checkpoint;
use shufflenet_train::evaluation::{EvaluationRequest, evaluate};
use shufflenet_train::experiment::settings;
use shufflenet_train::run::Outcome;
use shufflenet_train::run::folder::Existing;

use crate::{metrics, train};

/// The results of the version that wrote the checkpoint.
#[derive(Deserialize)]
struct Expected {
    /// Mean loss over the test set.
    model_loss: f64,
    ema_loss: f64,
    /// Mean training loss of the epoch so far, at each step after the checkpoint.
    training_losses: Vec<f64>,
}

/// Asserts that two losses agree. They are not equal, because other vector instructions round differently.
fn assert_close(found: f64, expected: f64) {
    let error = (found - expected).abs() / expected;
    assert!(error < 1e-3, "{found}, expected {expected}");
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint-v1")
}

fn expected() -> Expected {
    let text = fs::read_to_string(fixture().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist-small")
}

#[test]
fn the_stored_checkpoint_evaluates_to_the_stored_losses() {
    let expected = expected();
    for (file, loss) in [("model", expected.model_loss), ("ema", expected.ema_loss)] {
        let file = fixture().join(format!("run/checkpoints/step-000060/{file}.safetensors"));
        let request = EvaluationRequest {
            data: Some(data()),
            device: "flex".into(),
            ..EvaluationRequest::new(file)
        };
        let report = evaluate(&request).unwrap().report;
        assert_eq!(report.step, 60);
        assert_close(report.metrics.loss, loss);
    }
}

#[test]
fn the_stored_checkpoint_resumes_with_the_stored_losses() {
    let folder = tempfile::tempdir().unwrap();
    let (run, step) = (folder.path().join("run"), "checkpoints/step-000060");
    fs::create_dir_all(run.join(step)).unwrap();
    for parent in ["", step] {
        for entry in fs::read_dir(fixture().join("run").join(parent)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, run.join(parent).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    let root = format!("data.root={}", data().display());
    let overrides = [root, "train.log_every=1".into()];
    let experiment = settings::load(&run.join("config.toml"), &overrides).unwrap();
    let outcome = train(&experiment, &run, Existing::Resume, usize::MAX);
    assert!(matches!(outcome, Outcome::Finished));
    assert_eq!(
        checkpoint::load(&run.join("checkpoints/last"))
            .unwrap()
            .progress
            .step,
        63
    );
    let lines = metrics(&run);
    let steps = lines.iter().filter(|line| line["event"] == "step");
    let losses: Vec<f64> = steps.map(|line| line["loss"].as_f64().unwrap()).collect();
    let expected = expected().training_losses;
    assert_eq!(
        losses.len(),
        6,
        "lines at 20, 40, 60 and then at every step"
    );
    for (&found, expected) in losses[3..].iter().zip(expected) {
        assert_close(found, expected);
    }
}
