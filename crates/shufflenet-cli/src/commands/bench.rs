//! `shufflenet bench`: times steps on noise, the loading of batches, or the steps of a run.

use std::process::ExitCode;

use shufflenet_train::bench::resumed::{self, Resumed};
use shufflenet_train::bench::{self, Timing, Workload};
use shufflenet_train::experiment::settings;
use shufflenet_train::{Precision, TrainError};

use crate::arguments::{Bench, Work};
use crate::process::print;

pub fn run(arguments: &Bench) -> anyhow::Result<ExitCode> {
    arguments.compute.use_threads();
    let report = match (&arguments.checkpoint, arguments.work) {
        (Some(checkpoint), Work::Train) => resumed::train(&Resumed {
            checkpoint: checkpoint.clone(),
            data: arguments.data.clone(),
            device: arguments.compute.device.clone(),
            steps: usize::from(arguments.steps),
            warm_up: bench::WARM_UP,
        })?,
        (Some(checkpoint), _) => {
            return Err(TrainError::Value {
                key: "--checkpoint".into(),
                found: checkpoint.display().to_string(),
                accepted: "a run, in bench train".into(),
            }
            .into());
        }
        (None, work) => bench_noise(arguments, work)?,
    };
    match arguments.json {
        true => print(&format!("{}\n", serde_json::to_string(&report)?)),
        false => print(&report.to_string()),
    }
}

/// Times steps on noise, or the loading of batches.
fn bench_noise(arguments: &Bench, work: Work) -> anyhow::Result<Timing> {
    let (config, overrides) = (
        arguments.network.config.as_deref(),
        arguments.network.overrides(),
    );
    let device = &arguments.compute.device;
    let experiment = config
        .map(|config| settings::load(config, &overrides))
        .transpose()?;
    let mut workload = match &experiment {
        Some(experiment) => Workload::of(experiment, device),
        None => Workload::new(settings::load_model(None, &overrides)?, device),
    };
    workload.steps = usize::from(arguments.steps);
    workload.precision = match (arguments.precision, work) {
        (Some(asked), _) => asked,
        // Evaluation is in float32, whatever the precision of training.
        (None, Work::Infer) => Precision::F32,
        (None, _) => workload.precision,
    };
    if let Some(size) = arguments.size {
        workload.size = [usize::from(size); 2];
    }
    if let Some(batch) = arguments.batch {
        workload.batch = usize::from(batch);
    }
    Ok(match (work, &experiment) {
        (Work::Train, _) => bench::train(&workload)?,
        (Work::Infer, _) => bench::infer(&workload)?,
        (Work::Data, Some(experiment)) => bench::data(experiment, &workload)?,
        (Work::Data, None) => {
            return Err(TrainError::Value {
                key: "--config".into(),
                found: "not given".into(),
                accepted: "an experiment's file, whose batches bench data loads".into(),
            }
            .into());
        }
    })
}
