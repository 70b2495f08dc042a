//! Times training, inference and loading on this machine, with the code of training and evaluation.
//!
//! A time includes the whole step: copy of the batch to the device, forward, loss, backward, optimizer, copy of the
//! logits to the host.
//!
//! [`train`], [`infer`] and [`data`] need no run. [`resumed::train`] times the next steps of an existing run.

mod enqueued;
pub mod resumed;
mod teaching;
mod timing;

use std::rc::Rc;
use std::time::Instant;

use shufflenet_data::{Batch, Check, ImageShape, OnBadImage};
use shufflenet_model::{ModelConfig, Precision, num_parameters};

use crate::data::network::{self, Fitted};
use crate::data::sources;
use crate::device;
use crate::error::TrainError;
use crate::evaluation;
use crate::experiment::Experiment;
use crate::recipe::distill::Distill;
use crate::recipe::loss::LossConfig;
use crate::recipe::optimizer::OptimizerConfig;
use crate::step::classifier::{MicroBatch, Scores, pixels};
use crate::step::distill;
use crate::step::learner::{Learner, LearnerConfig};
use crate::step::teacher::Teacher;
use enqueued::Clock;
use timing::report;

pub use timing::Timing;

/// Default number of steps before the timed steps.
pub const WARM_UP: usize = 3;

/// A workload to time.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The network.
    pub model: ModelConfig,
    /// Images in a batch.
    pub batch: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Device name.
    pub device: String,
    /// Type of the stored activations.
    pub precision: Precision,
    /// The settings of the learner, except the precision.
    pub learner: LearnerConfig,
    /// The teacher, if training is timed.
    pub distill: Option<Distill>,
    /// Name of the network's experiment, if any.
    pub experiment: Option<String>,
    /// Steps that are timed.
    pub steps: usize,
    /// Steps before these that are not timed.
    pub warm_up: usize,
}

impl Workload {
    /// A network at the usual image size for its stem, with batches of 128 images.
    pub fn new(model: ModelConfig, device: &str) -> Self {
        let size = model.stem().customary_size();
        Self {
            model,
            batch: 128,
            size: [size; 2],
            device: device.into(),
            precision: Precision::F32,
            learner: LearnerConfig::default(),
            distill: None,
            experiment: None,
            steps: 20,
            warm_up: WARM_UP,
        }
    }

    /// The network, the batch and the optimizer of `experiment`. Classes, channels and image size that it does not set are
    /// those of its data, if the data can be opened.
    pub fn of(experiment: &Experiment, device: &str) -> Self {
        let Fitted { model, size, .. } = network::fitted(experiment);
        // Class weights do not change the time, and their number may differ from the requested number of classes.
        let loss = LossConfig {
            class_weights: None,
            ..experiment.loss.clone()
        };
        let plain = Self::new(model, device);
        Self {
            batch: experiment.train.batch_size,
            size: size.unwrap_or(plain.size),
            precision: experiment.train.precision,
            learner: LearnerConfig {
                loss,
                ..LearnerConfig::of(experiment)
            },
            distill: experiment.distill.clone(),
            experiment: Some(experiment.name.clone()),
            ..plain
        }
    }
}

/// Times training steps on one batch of noise.
///
/// # Errors
/// Errors of model and device.
pub fn train(workload: &Workload) -> Result<Timing, TrainError> {
    let device = device::open(&workload.device)?;
    let [height, width] = workload.size;
    let model = &workload.model;
    model.validate(height, width)?;
    model.check_training_batch(workload.batch, height, width)?;
    let config = LearnerConfig {
        precision: workload.precision,
        ..workload.learner.clone()
    };
    let rate = config.optimizer.learning_rate.min(0.01);
    let mut learner = Learner::fresh(model, config, 0, &device)?;
    let teacher = workload.distill.as_ref().map(|distill| {
        distill::open_for_noise(distill, model, workload.precision, &device).map(Rc::new)
    });
    let teacher = teacher.transpose()?;
    let batch = noise(workload);
    let parameters = num_parameters(&learner.classifier.network);
    let steps = match learner.may_wait() {
        true => TOGETHER,
        false => 1,
    };
    let mut clock = Clock::default();
    let times = time(workload.warm_up, workload.steps, steps, || {
        for _ in 0..steps {
            clock.time(|| step(&mut learner, &batch, teacher.as_ref(), rate))?;
        }
        learner.settle().map(drop)
    })?;
    let enqueued = match learner.may_wait() {
        true => Some(clock.read(workload.warm_up * steps, &device, || {
            step(&mut learner, &batch, teacher.as_ref(), rate)
        })?),
        false => None,
    };
    let teaching = teacher.map(|teacher| teaching::measure(&teacher, workload, 1, &device));
    Ok(Timing {
        enqueued,
        teaching: teaching.transpose()?,
        ..report("train", workload, parameters, times)
    })
}

/// Steps that are enqueued on a GPU between two readings of the clock.
const TOGETHER: usize = 10;

/// The step that [`train`] times: a step of training with the copies of batch and logits.
///
/// # Errors
/// The errors of [`Learner::step`].
pub fn step(
    learner: &mut Learner,
    batch: &Batch,
    teacher: Option<&Rc<Teacher>>,
    rate: f64,
) -> Result<(), TrainError> {
    let images = MicroBatch {
        teacher: teacher.cloned(),
        ..batch.clone().into()
    };
    learner.step([Ok(images)], rate).map(drop)
}

/// Times the network's inference on one batch of noise, with the copy of the logits to the host.
///
/// # Errors
/// Errors of model and device.
pub fn infer(workload: &Workload) -> Result<Timing, TrainError> {
    let device = device::open(&workload.device)?;
    let [height, width] = workload.size;
    workload.model.validate(height, width)?;
    let learner = Learner::fresh(&workload.model, OptimizerConfig::default(), 0, &device)?;
    let network = learner.classifier.network;
    let inference = evaluation::inference(&network, workload.precision, &device)?;
    let batch = noise(workload);
    let times = time(workload.warm_up, workload.steps, 1, || {
        let logits = inference.forward(pixels(batch.clone(), &device));
        Scores { logits }.to_host()?;
        Ok(())
    })?;
    Ok(report("infer", workload, num_parameters(&network), times))
}

/// Times an experiment's training batches, shuffled, augmented, normalised: `workload.batch` images
/// each, `workload.steps` of them; its size and network do not matter here.
///
/// # Errors
/// Errors of the data.
pub fn data(experiment: &Experiment, workload: &Workload) -> Result<Timing, TrainError> {
    let mut experiment = experiment.clone();
    let own_batch = experiment.train.batch_size;
    experiment.train.batch_size = workload.batch;
    experiment.train.drop_last = true;
    // Decoding every image beforehand takes longer than the benchmark. Only bad images that are left out need it.
    if experiment.data.options.on_bad_image == OnBadImage::Error {
        experiment.data.check = Check::Headers;
    }
    let sources = sources::open(&experiment)?;
    let mut batches = (0..).flat_map(|epoch| sources.train.epoch(epoch, 0));
    if sources.train.batches() == 0 {
        let (key, remedy) = match workload.batch == own_batch {
            true => ("train.batch_size", "; --batch N times others"),
            false => ("--batch", ""),
        };
        return Err(TrainError::Value {
            key: key.into(),
            found: workload.batch.to_string(),
            accepted: format!(
                "at most {}, the training records{remedy}",
                sources.train.records()
            ),
        });
    }
    let times = time(workload.warm_up, workload.steps, 1, || {
        let batch = batches.next().transpose()?;
        std::hint::black_box(batch);
        Ok(())
    })?;
    let shape = sources.shape;
    // Workers finish in bursts. Half of the waits are short, so the median would be too low.
    let seconds: f64 = times.iter().sum::<f64>() / 1e3;
    let img_per_s = (times.len() * workload.batch) as f64 / seconds;
    let report = report("data", workload, 0, times);
    Ok(Timing {
        subject: sources.name,
        parameters: None,
        input: [shape.channels, shape.height, shape.width],
        img_per_s,
        ..report
    })
}

/// A batch of uniform noise, the same at every call.
fn noise(workload: &Workload) -> Batch {
    let [height, width] = workload.size;
    let shape = ImageShape {
        channels: workload.model.input_channels(),
        height,
        width,
    };
    let classes = workload.model.classes();
    Batch::noise(0, workload.batch, shape, classes)
}

/// Milliseconds of each of `count` timed steps after `warm_up` others. A call of `steps` takes `together` steps.
fn time(
    warm_up: usize,
    count: usize,
    together: usize,
    mut steps: impl FnMut() -> Result<(), TrainError>,
) -> Result<Vec<f64>, TrainError> {
    for _ in 0..warm_up {
        steps()?;
    }
    let timed = |_| {
        let start = Instant::now();
        steps()?;
        Ok(start.elapsed().as_secs_f64() * 1e3 / together as f64)
    };
    (0..count).map(timed).collect()
}
