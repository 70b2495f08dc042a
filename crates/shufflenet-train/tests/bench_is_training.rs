//! Tests that `bench train` times the steps of a run: the same steps give the same weights.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use std::path::Path;

use burn::tensor::Device;
use shufflenet_model::to_safetensors;
use shufflenet_train::Interrupter;
use shufflenet_train::bench::resumed::Resumed;
use shufflenet_train::data::sources;
use shufflenet_train::display::console::Console;
use shufflenet_train::experiment::settings;
use shufflenet_train::run::folder::Existing;
use shufflenet_train::run::start::{RunOptions, train};
use shufflenet_train::step::learner::Learner;
use shufflenet_train::{bench, checkpoint};

#[test]
fn twenty_steps_of_a_benchmark_give_the_weights_of_a_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let overrides = [
        format!("data.root={:?}", root.join("data/fashion-mnist-small")),
        "train.max_steps=20".into(),
        "train.batch_size=32".into(),
        "schedule.kind=\"constant\"".into(),
        "model.widths=[8, 16, 24, 32, 48]".into(),
    ];
    let experiment = settings::load(&root.join("configs/quickstart.toml"), &overrides).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let options = RunOptions {
        device: "flex".into(),
        threads: 2,
        out: folder.path().join("run"),
        existing: Existing::Refuse,
        accept_changed_data: false,
        accept_changed_precision: false,
    };
    train(
        &experiment,
        &options,
        &Interrupter::new(),
        &mut Console::new(),
    )
    .unwrap();
    let run = checkpoint::load(&options.out.join("checkpoints/last")).unwrap();

    let train = &experiment.train;
    let (model, optimizer) = (&experiment.model, &experiment.optimizer);
    let mut learner =
        Learner::fresh(model, optimizer.clone(), train.seed, &Device::flex()).unwrap();
    let sources = sources::open(&experiment).unwrap();
    for batch in sources.train.epoch(1, 0).take(20) {
        let batch = batch.unwrap();
        bench::step(&mut learner, &batch, None, optimizer.learning_rate).unwrap();
    }
    assert!(run.weights == to_safetensors(&learner.classifier.network).unwrap());

    // A benchmark that continues from the run's last checkpoint changes no file of the run.
    let timing = bench::resumed::train(&Resumed {
        checkpoint: options.out.clone(),
        data: None,
        device: "flex".into(),
        steps: 3,
        warm_up: 1,
    })
    .unwrap();
    assert_eq!(
        (timing.batch, timing.input, timing.steps),
        (32, [1, 28, 28], 3)
    );
    assert!(
        timing.subject.contains("after step 20 of 20"),
        "{}",
        timing.subject
    );
    let last = checkpoint::load(&options.out.join("checkpoints/last")).unwrap();
    assert!(last.weights == run.weights && last.progress == run.progress);
}
