//! Tests of the networks against PyTorch's, on the path that training uses: the steps of a [`Classifier`], the
//! optimizer of [`Optimizer::new`], and inference after `valid()`.
//!
//! `cargo test -p shufflenet-train --test parity -- --nocapture` prints each error, its tolerance, and the error of
//! PyTorch's float32. Both errors are against PyTorch's float64.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]
#![allow(
    clippy::print_stdout,
    reason = "--nocapture shows the measured figures"
)]

mod fixture;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use fixture::{Fixture, Tensors, unpack};
use shufflenet_data::Batch;
use shufflenet_model::{Summary, parameters, to_safetensors};
use shufflenet_train::evaluation::tally::Tally;
use shufflenet_train::recipe::loss::LossConfig;
use shufflenet_train::recipe::optimizer::Optimizer;
use shufflenet_train::recipe::optimizer::gradients::Gradients;
use shufflenet_train::step::classifier::{Classifier, Images, Scores};

const STANDARD: [&str; 5] = [
    "standard-0.5",
    "standard-1.0",
    "standard-1.5",
    "standard-2.0",
    "standard-imagenet-stem",
];
const SEED: [&str; 5] = [
    "seed-0.5",
    "seed-1.0",
    "seed-1.5",
    "seed-2.0",
    "seed-seed-stem",
];
const STANDARD_SWITCHES: [&str; 8] = [
    "standard-split",
    "standard-split-tie",
    "standard-residual",
    "standard-se",
    "standard-dropout",
    "standard-custom",
    "standard-channels",
    "standard-all",
];
const SEED_SWITCHES: [&str; 8] = [
    "seed-split",
    "seed-split-tie",
    "seed-residual",
    "seed-se",
    "seed-dropout",
    "seed-custom",
    "seed-channels",
    "seed-all",
];

#[test]
fn the_standard_layout_agrees_with_pytorch_in_every_width() {
    check(&STANDARD, &Device::flex());
}

#[test]
fn the_seed_layout_agrees_with_pytorch_in_every_width() {
    check(&SEED, &Device::flex());
}

#[test]
fn the_standard_layout_agrees_with_pytorch_with_every_switch() {
    check(&STANDARD_SWITCHES, &Device::flex());
}

#[test]
fn the_seed_layout_agrees_with_pytorch_with_every_switch() {
    check(&SEED_SWITCHES, &Device::flex());
}

#[test]
#[cfg(feature = "ndarray")]
#[expect(
    deprecated,
    reason = "this backend is supported for comparison while Burn has it"
)]
fn the_smallest_networks_agree_with_pytorch_on_ndarray() {
    check(&["standard-0.5", "seed-0.5"], &Device::ndarray());
}

#[test]
fn every_fixture_is_used() {
    let used = [&STANDARD[..], &SEED, &STANDARD_SWITCHES, &SEED_SWITCHES].concat();
    let used: BTreeSet<String> = used.into_iter().map(String::from).collect();
    let entries = std::fs::read_dir(fixture::folder()).unwrap();
    let files = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file());
    let names = files.map(|file| file.file_stem().unwrap().to_owned());
    let found: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(used, found);
}

#[test]
fn parameters_and_multiply_adds_equal_pytorchs() {
    for name in [&STANDARD[..], &SEED, &STANDARD_SWITCHES, &SEED_SWITCHES].concat() {
        let fixture = Fixture::read(name);
        let network = fixture.network(&Device::flex());
        let summary = Summary::of(&network, fixture.height, fixture.width).unwrap();
        let totals = (summary.parameters, summary.multiply_adds);
        println!(
            "{name:<23} {:>9} parameters {:>10} multiply-adds",
            totals.0, totals.1
        );
        assert_eq!(
            totals,
            (fixture.parameters, fixture.multiply_adds),
            "{name}"
        );
    }
}

fn check(names: &[&str], device: &Device) {
    let mut table = format!(
        "\n{:<23} {:<19} {:>8} {:>9} {:>8}  {}\n",
        "fixture", "quantity", "error", "tolerance", "PyTorch", "the worst of"
    );
    let mut failures = Vec::new();
    for name in names {
        let fixture = Fixture::read(name);
        for row in measure(&fixture, device) {
            let Row {
                quantity,
                error,
                worst_of,
            } = row;
            let tolerance = match quantity {
                "gradient_norms" | "gradients" | "losses" => 1e-4,
                _ => 1e-5,
            };
            let pytorch = fixture.pytorch_float32_error[quantity];
            let line = format!(
                "{name:<23} {quantity:<19} {error:>8.1e} {tolerance:>9.0e} {pytorch:>8.1e}  {worst_of}"
            );
            writeln!(table, "{line}").unwrap();
            assert!(
                pytorch < tolerance / 10.0,
                "the reference is too inexact: {line}"
            );
            if error.is_nan() || error > tolerance {
                failures.push(line);
            }
        }
    }
    print!("{table}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A line of the table.
struct Row {
    quantity: &'static str,
    error: f64,
    /// The tensor or step with this error, if the quantity has several.
    worst_of: String,
}

/// Measures inference and five of the trainer's steps.
fn measure(fixture: &Fixture, device: &Device) -> Vec<Row> {
    let training = device.clone().autodiff();
    let mut classifier = Classifier {
        network: fixture.network(&training),
    };
    let expected = |name: &str| &fixture.tensors[name];

    let images = Images::new(
        fixture.batch().into(),
        &LossConfig::default(),
        fixture.model.classes(),
        device,
    );
    let logits = host(&InferenceStep::step(&classifier.valid(), images));
    let mut rows = vec![single(
        "evaluation_logits",
        relative(&logits, expected("evaluation_logits")),
    )];

    let mut optimizer = Optimizer::new(&fixture.optimizer, &classifier.network).unwrap();
    let mut losses = Vec::new();
    for step in 0..fixture.losses.len() {
        let batch = fixture.batch();
        let mut tally = Tally::default();
        let output = train_step(fixture, &classifier, batch.clone(), &training);
        let logits = output.item.to_host().unwrap();
        tally.add(&logits, &batch.labels);
        let loss = tally.metrics().loss;
        losses.push(loss);
        if step == 0 {
            let logits = host(&output.item);
            let gradients = gradients(&classifier, &output.grads);
            rows.push(single(
                "training_logits",
                relative(&logits, expected("training_logits")),
            ));
            rows.push(single(
                "training_loss",
                relative(&[loss], &[fixture.training_loss]),
            ));
            rows.push(worst("gradient_norms", norm_errors(fixture, &gradients)));
            rows.push(worst(
                "gradients",
                recorded(fixture, "gradient/", &gradients),
            ));
            let state = unpack(&to_safetensors(&classifier.network).unwrap());
            let running = recorded(fixture, "running/", &state);
            let count = state
                .keys()
                .filter(|name| name.contains("running_"))
                .count();
            assert_eq!(running.len(), count, "a running statistic is not recorded");
            rows.push(worst("running_statistics", running));
        }
        let rate = fixture.optimizer.learning_rate;
        let gradients = Gradients::of(&classifier, output.grads);
        classifier = optimizer.step(rate, classifier, gradients);
    }
    let steps = losses.iter().zip(&fixture.losses).enumerate();
    let errors = steps.map(|(i, (a, b))| (format!("step {i}"), relative(&[*a], &[*b])));
    rows.push(worst("losses", errors.collect()));
    rows
}

/// The trainer's step. Dropout uses PyTorch's mask instead of a random one.
fn train_step(
    fixture: &Fixture,
    classifier: &Classifier,
    batch: Batch,
    device: &Device,
) -> TrainOutput<Scores> {
    let mut images = Images::new(
        batch.into(),
        &LossConfig::default(),
        fixture.model.classes(),
        device,
    );
    images.mask = (fixture.model.dropout > 0.0).then(|| fixture.mask(device));
    TrainStep::step(classifier, images)
}

fn host(scores: &Scores) -> Vec<f64> {
    let logits = scores.to_host().unwrap();
    logits.into_iter().map(f64::from).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// `|a - b| / |b|`
fn relative(actual: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let difference: Vec<f64> = actual.iter().zip(expected).map(|(a, b)| a - b).collect();
    norm(&difference) / norm(expected)
}

fn single(quantity: &'static str, error: f64) -> Row {
    Row {
        quantity,
        error,
        worst_of: String::new(),
    }
}

fn worst(quantity: &'static str, errors: Vec<(String, f64)>) -> Row {
    let count = errors.len();
    let largest = errors.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
    let (name, error) = largest.unwrap();
    Row {
        quantity,
        error,
        worst_of: format!("{count}: {name}"),
    }
}

/// The errors of the tensors whose values the fixture stores under `prefix`.
fn recorded(fixture: &Fixture, prefix: &str, actual: &Tensors) -> Vec<(String, f64)> {
    let tensors = fixture.tensors.iter();
    let tensors = tensors.filter_map(|(name, values)| Some((name.strip_prefix(prefix)?, values)));
    tensors
        .map(|(name, values)| (name.to_string(), relative(&actual[name], values)))
        .collect()
}

/// The relative error of the norm of each gradient. A gradient that is zero by construction (a batch norm subtracts
/// what the beta before it adds) is compared with the norm of the gradient of the same layer's gamma.
fn norm_errors(fixture: &Fixture, gradients: &Tensors) -> Vec<(String, f64)> {
    let expected = &fixture.gradient_norms;
    assert_eq!(
        gradients.keys().collect::<BTreeSet<_>>(),
        expected.keys().collect::<BTreeSet<_>>()
    );
    let error = |(name, values): (&String, &Vec<f64>)| {
        let scale = match expected[name] {
            0.0 => expected[&name.replace(".bias", ".weight")],
            norm => norm,
        };
        (name.clone(), (norm(values) - expected[name]).abs() / scale)
    };
    gradients.iter().map(error).collect()
}

/// The gradients under the names of weight files, in PyTorch's order.
fn gradients(classifier: &Classifier, gradients: &GradientsParams) -> Tensors {
    struct Collector<'a> {
        gradients: &'a GradientsParams,
        names: HashMap<ParamId, String>,
        found: Tensors,
    }
    impl ModuleVisitor for Collector<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(mut gradient) = self.gradients.get::<D>(param.id) else {
                return;
            };
            if D == 2 {
                gradient = gradient.transpose();
            }
            let values = gradient.into_data().iter::<f64>().collect();
            self.found.insert(self.names[&param.id].clone(), values);
        }
    }
    let mut collector = Collector {
        gradients,
        names: parameters(&classifier.network).into_iter().collect(),
        found: Tensors::new(),
    };
    classifier.visit(&mut collector);
    collector.found
}
