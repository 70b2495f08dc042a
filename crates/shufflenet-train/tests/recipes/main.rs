//! Tests of schedules, losses, distillation and optimizers against PyTorch's. The fixture is made by
//! `scripts/recipe_fixtures.py`. With `--nocapture` they print each error. They run on the device that
//! `SHUFFLENET_TEST_DEVICE` names, or else on the CPU.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of tests may panic like the tests"
)]

mod average;
mod distillation;
mod losses;
mod optimizers;
mod schedules;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use serde::Deserialize;
use shufflenet_train::device;
use shufflenet_train::recipe::distill::Distill;
use shufflenet_train::recipe::loss::LossConfig;
use shufflenet_train::recipe::optimizer::OptimizerConfig;
use shufflenet_train::recipe::schedule::ScheduleConfig;

fn test_device() -> Device {
    let name = std::env::var("SHUFFLENET_TEST_DEVICE");
    device::open(name.as_deref().unwrap_or("flex")).unwrap()
}

#[derive(Deserialize)]
struct Fixture {
    peak: f64,
    per_epoch: usize,
    schedules: Vec<ScheduleCase>,
    shapes: BTreeMap<String, Vec<usize>>,
    optimizers: Vec<OptimizerCase>,
    losses: Losses,
    distillation: Distillation,
}

#[derive(Deserialize)]
struct ScheduleCase {
    config: ScheduleConfig,
    /// Rate and momentum of every step.
    rows: Vec<[f64; 2]>,
}

#[derive(Deserialize)]
struct OptimizerCase {
    config: OptimizerConfig,
    /// Norm of each parameter after each step, in the script's order.
    norms: Vec<Vec<f64>>,
    /// The first values of each parameter after the last step.
    last: BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
struct Losses {
    labels: Vec<u16>,
    others: Vec<u16>,
    cases: Vec<LossCase>,
}

#[derive(Deserialize)]
struct LossCase {
    config: LossConfig,
    share: Option<f64>,
    loss: f64,
    gradient: Vec<f64>,
}

#[derive(Deserialize)]
struct Distillation {
    labels: Vec<u16>,
    cases: Vec<DistillationCase>,
}

#[derive(Deserialize)]
struct DistillationCase {
    config: Distill,
    loss: f64,
    gradient: Vec<f64>,
}

fn fixture() -> Fixture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes/reference.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Numbers by the script's formula.
fn wave(count: usize, phase: f64) -> Vec<f64> {
    (0..count).map(|i| (0.7 * i as f64 + phase).sin()).collect()
}
