//! Tests of a run that moves from the CPU to a GPU and back, with the same experiment and the same checkpoints.

use std::path::Path;

use burn::tensor::Device;
use shufflenet_model::ModelConfig;
use shufflenet_train::cluster::Cluster;
use shufflenet_train::display::console::Console;
use shufflenet_train::evaluation::{EvaluationReport, EvaluationRequest, evaluate};
use shufflenet_train::experiment::Experiment;
use shufflenet_train::experiment::settings;
use shufflenet_train::run::folder::Existing;
use shufflenet_train::run::preflight;
use shufflenet_train::run::start::{RunOptions, train as start};
use shufflenet_train::{Interrupter, checkpoint};

use crate::{gpu, gpu_name};

/// A small network on the few images of the CIFAR-format fixture.
fn experiment(steps: usize, precision: &str) -> Experiment {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = root.join("crates/shufflenet-data/tests/fixtures/cifar10-format");
    let overrides = [
        format!("data.root={data:?}"),
        "data.augmentation.crop_padding=0".into(),
        "train.batch_size=20".into(),
        format!("train.max_steps={steps}"),
        "train.ema_decay=0.9".into(),
        format!("train.precision={precision:?}"),
        "schedule.kind=\"constant\"".into(),
        "model.widths=[8, 16, 24, 32, 48]".into(),
        "model.repeats=[1, 1, 1]".into(),
    ];
    settings::load(&root.join("configs/scale0_5.toml"), &overrides).unwrap()
}

fn train(out: &Path, steps: usize, device: &str, existing: Existing) {
    train_in("f32", out, steps, device, existing);
}

fn train_in(precision: &str, out: &Path, steps: usize, device: &str, existing: Existing) {
    let options = RunOptions {
        device: device.into(),
        threads: 2,
        out: out.into(),
        existing,
        accept_changed_data: false,
        accept_changed_precision: false,
    };
    let experiment = experiment(steps, precision);
    start(
        &experiment,
        &options,
        &Interrupter::new(),
        &mut Console::new(),
    )
    .unwrap();
}

fn report(run: &Path, device: &str) -> EvaluationReport {
    let request = EvaluationRequest {
        data: None,
        device: device.into(),
        ..EvaluationRequest::new(run.join("checkpoints/last"))
    };
    evaluate(&request).unwrap().report
}

/// After five steps the loss equals that of a run on the CPU alone, up to rounding.
#[test]
fn a_run_goes_from_the_cpu_to_the_gpu_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let [moved, stayed] = ["moved", "stayed"].map(|name| folder.path().join(name));
    train(&moved, 2, "flex", Existing::Refuse);
    train(&moved, 5, &gpu_name(), Existing::Resume);
    train(&stayed, 5, "flex", Existing::Refuse);

    let last = checkpoint::load(&moved.join("checkpoints/last")).unwrap();
    assert_eq!(last.progress.step, 5);
    let environment = std::fs::read_to_string(moved.join("environment.json")).unwrap();
    assert!(environment.contains("\"adapter\""), "{environment}");

    let here = report(&moved, "flex");
    assert_eq!(here.step, 5);
    for other in [report(&moved, &gpu_name()), report(&stayed, "flex")] {
        let (a, b) = (here.metrics, other.metrics);
        println!(
            "loss {:.6} and {:.6}, top-1 {} and {}",
            a.loss, b.loss, a.top1, b.top1
        );
        assert_eq!(a.count, b.count);
        assert!((a.loss - b.loss).abs() <= 1e-3 * b.loss, "{a:?}, {b:?}");
    }
}

#[test]
fn a_run_in_bfloat16_repeats_its_bits_and_is_close_to_the_cpus_loss() {
    let folder = tempfile::tempdir().unwrap();
    let [once, again, cpu] = ["once", "again", "cpu"].map(|name| folder.path().join(name));
    train_in("bf16", &once, 3, &gpu_name(), Existing::Refuse);
    train_in("bf16", &again, 1, &gpu_name(), Existing::Refuse);
    train_in("bf16", &again, 3, &gpu_name(), Existing::Resume);
    train_in("bf16", &cpu, 3, "flex", Existing::Refuse);

    let [a, b] = [&once, &again].map(|run| {
        let weights = std::fs::read(run.join("checkpoints/last/model.safetensors"));
        weights.unwrap()
    });
    assert!(a == b, "the interrupted run has other weights");
    let [a, b] = [report(&once, &gpu_name()), report(&cpu, "flex")].map(|of| of.metrics);
    println!("bf16: loss {:.6} and {:.6}", a.loss, b.loss);
    assert!((a.loss - b.loss).abs() <= 1e-2 * b.loss, "{a:?}, {b:?}");
}

#[test]
fn a_network_without_kernels_on_a_gpu_is_reported_once() {
    let (gpu, cpu) = (gpu(), Device::flex());
    let alone = Cluster::alone(&Interrupter::new());
    let notes = |model: ModelConfig, precision: &str, device: &Device| {
        let mut experiment = experiment(1, precision);
        experiment.model = model;
        preflight::without_kernels(&experiment, device, &alone)
    };
    let squeezing = ModelConfig {
        squeeze_excitation: true,
        ..ModelConfig::default()
    };
    let odd = ModelConfig {
        widths: Some([9, 16, 24, 32, 48].into()),
        ..ModelConfig::default()
    };
    assert!(notes(ModelConfig::default(), "bf16", &gpu).is_empty());
    assert!(notes(odd.clone(), "f32", &gpu).is_empty());
    for (model, precision, word) in [
        (&squeezing, "f32", "squeeze-and-excitation"),
        (&squeezing, "bf16", "in float32"),
        (&odd, "bf16", "odd number"),
    ] {
        let found = notes(model.clone(), precision, &gpu);
        assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
        assert!(notes(model.clone(), precision, &cpu).is_empty());
    }
}
