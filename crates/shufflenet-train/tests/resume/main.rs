//! Tests of interrupted and resumed runs. Weights, their average, optimizer state, progress and metrics (except speeds) end
//! with the bits of an uninterrupted run. A run that cannot be resumed is refused.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod changes;
mod copies;
mod damage;
mod distill;
mod exact;
mod stored;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use shufflenet_train::Interrupter;
use shufflenet_train::checkpoint::{self, Checkpoint};
use shufflenet_train::display::console::Console;
use shufflenet_train::experiment::Experiment;
use shufflenet_train::experiment::settings;
use shufflenet_train::run::Outcome;
use shufflenet_train::run::folder::Existing;
use shufflenet_train::run::start::{RunOptions, train as start};

/// Settings of a network whose step takes milliseconds.
const NARROW: [&str; 4] = [
    "model.widths=[8, 16, 24, 32, 48]",
    "model.repeats=[1, 1, 1]",
    "model.scale=1.0",
    "model.stem=imagenet",
];

/// Two epochs of eight steps on the bundled images, with momentum and a warm-up.
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

fn narrow(folder: &Path, overrides: &[&str]) -> Experiment {
    experiment(folder, &[&NARROW, overrides].concat())
}

fn options(out: &Path, existing: Existing) -> RunOptions {
    RunOptions {
        device: "flex".into(),
        threads: 1,
        out: out.into(),
        existing,
        accept_changed_data: false,
        accept_changed_precision: false,
    }
}

/// The error of resuming `run` with `experiment`.
fn refusal(experiment: &Experiment, run: &Path) -> String {
    let options = options(run, Existing::Resume);
    let refused = start(
        experiment,
        &options,
        &Interrupter::new(),
        &mut Console::new(),
    );
    refused.err().unwrap().to_string()
}

/// Trains to the end, or until the step `stop_at` is logged.
fn train(experiment: &Experiment, out: &Path, existing: Existing, stop_at: usize) -> Outcome {
    let interrupter = Interrupter::new();
    let options = options(out, existing);
    let watched = (interrupter.clone(), out.join("metrics.jsonl"));
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let (interrupter, metrics) = watched;
            // Wait until the run has ended or has logged the step `stop_at`.
            while is_done.recv_timeout(Duration::from_millis(5))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                let text = std::fs::read_to_string(&metrics).unwrap_or_default();
                if text.contains(&format!("\"step\":{stop_at},")) {
                    interrupter.stop(None);
                }
            }
        });
        let outcome = start(experiment, &options, &interrupter, &mut Console::new()).unwrap();
        drop(done);
        outcome
    })
}

fn last(run: &Path) -> Checkpoint {
    checkpoint::load(&run.join("checkpoints/last")).unwrap()
}

/// The metrics without the values that depend on the clock.
fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let parse = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let fields = line.as_object_mut().unwrap();
        for clock in ["img_per_s", "time"] {
            fields.remove(clock);
        }
        line
    };
    text.lines().map(parse).collect()
}
