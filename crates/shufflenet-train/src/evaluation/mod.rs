//! Measures a network on a set: loss, accuracy, and the measures of `measures.rs`. Every record counts once, also those
//! in a smaller last batch.

pub mod measures;
pub mod outcomes;
pub mod predict;
pub mod tally;
pub mod trained;

use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::Device;
use burn::train::Interrupter;
use serde::Serialize;
use shufflenet_data::{Batch, Batches, ClassOrder, Loader, UnknownClasses};
use shufflenet_model::subnormals::flushed;
use shufflenet_model::{Inference, Precision, ShuffleNetV2, num_parameters};

use crate::data::trained_on::{self, DataRequest, EvaluationData};
use crate::device;
use crate::error::{TrainError, require};
use crate::evaluation::measures::{Measures, Outcome};
use crate::evaluation::tally::{Metrics, Tally};
use crate::evaluation::trained::{Trained, Weights};
use crate::step::classifier::{Classifier, Scores, pixels};
use crate::step::pending_logits::PendingLogits;

/// Version of the output of `eval --json` (`docs/evaluation.md`). Keys may be added without a new version.
const FORMAT: u32 = 1;

/// Which checkpoint to evaluate, on which data.
#[derive(Clone, Debug)]
pub struct EvaluationRequest {
    /// The checkpoint, see [`crate::checkpoint::store::locate`].
    pub checkpoint: PathBuf,
    /// Which weights of the checkpoint. `None`: the weights that `best` was chosen by.
    pub weights: Option<Weights>,
    /// Where the data is. `None`: where the run had it.
    pub data: Option<PathBuf>,
    /// `test`, `validation`, `train` or `all`. `None`: the test part, else the validation part, else all.
    pub split: Option<String>,
    /// What to do about images of classes that the network does not know.
    pub unknown: UnknownClasses,
    /// The order of the classes of a network without names. `None`: the data's, where both orders agree.
    pub order: Option<ClassOrder>,
    /// Whether to take the mean logits of each image and its mirror image.
    pub flip: bool,
    /// Device name.
    pub device: String,
    /// Type of the stored activations.
    pub precision: Precision,
}

impl EvaluationRequest {
    /// Evaluates `checkpoint` (a run folder: its best) on the test set of its run, on the CPU.
    pub fn new(checkpoint: impl Into<PathBuf>) -> Self {
        Self {
            checkpoint: checkpoint.into(),
            weights: None,
            data: None,
            split: None,
            unknown: UnknownClasses::Refuse,
            order: None,
            flip: false,
            device: device::DEFAULT.into(),
            precision: Precision::F32,
        }
    }
}

/// The output of `eval`. In JSON the fields of [`Metrics`] and [`Measures`] are fields of this object.
#[derive(Debug, Serialize)]
pub struct EvaluationReport {
    /// Version of this format.
    pub format: u32,
    /// The checkpoint's folder.
    pub checkpoint: PathBuf,
    /// The weight file.
    pub weights: &'static str,
    /// Optimizer steps taken.
    pub step: usize,
    /// The part of the data.
    pub split: String,
    /// Whether the logits of mirror images were averaged in.
    pub tta: bool,
    /// Loss and accuracy.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Images per second, loading included.
    pub img_per_s: f64,
    /// Device name.
    pub device: String,
    /// Type of the stored activations.
    pub precision: Precision,
    /// Trainable parameters.
    pub parameters: usize,
    /// Whether `best` was chosen on this same data, which makes the figures optimistic.
    pub chosen_by_this_split: bool,
    /// Whether the part is drawn anew, because the data has changed since the run: the notes say so.
    #[serde(skip)]
    pub drawn_anew: bool,
    /// The note on images that the run seems to have trained on.
    #[serde(skip)]
    pub trained_images: Option<String>,
    /// Number of images that were left out, because the network does not know their classes.
    pub left_out: usize,
    /// Assumptions about the data, and the files that were skipped or left out.
    pub notes: Vec<String>,
    /// Classes, confusion, calibration.
    #[serde(flatten)]
    pub measures: Measures,
}

/// An evaluation, record by record.
pub struct Evaluated {
    /// The figures.
    pub report: EvaluationReport,
    /// The prediction for each record, in the loader's order.
    pub outcomes: Vec<Outcome>,
    /// The records.
    pub loader: Loader,
}

/// Evaluates a checkpoint on a part of the data, which is read again.
///
/// # Errors
/// Errors of the checkpoint, the data or the device.
pub fn evaluate(request: &EvaluationRequest) -> Result<Evaluated, TrainError> {
    let device = device::open(&request.device)?;
    let Trained {
        folder,
        weights,
        checkpoint,
        classifier,
    } = trained::open(&request.checkpoint, request.weights, &device)?;
    let inference = inference(&classifier.network, request.precision, &device)?;
    let description = &checkpoint.description;
    let experiment = &description.experiment;
    let data = DataRequest {
        root: request.data.as_deref(),
        split: request.split.as_deref(),
        unknown: request.unknown,
        order: request.order,
    };
    let batch_size = experiment.train.batch_size;
    let EvaluationData {
        loader,
        split,
        is_own,
        chose,
        drawn_anew,
        left_out,
        mut notes,
    } = trained_on::open(description, &data, batch_size)?;
    let trained_images = match is_own {
        true => None,
        false => trained_on::seen::trained_images(&folder, description, &loader),
    };
    notes.extend(trained_images.clone());
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut outcomes = Vec::new();
    score_each(
        &inference,
        loader.epoch(0, 0),
        &device,
        &Interrupter::new(),
        request.flip,
        &mut |logits, labels| {
            tally.add(logits, labels);
            let rows = logits.chunks(logits.len() / labels.len().max(1));
            let records = rows.zip(labels);
            outcomes.extend(records.map(|(row, &label)| Outcome::new(row, label.into())));
        },
    )?;
    let metrics = tally.metrics();
    let report = EvaluationReport {
        format: FORMAT,
        weights,
        step: checkpoint.progress.step,
        split,
        tta: request.flip,
        img_per_s: metrics.count as f64 / start.elapsed().as_secs_f64(),
        metrics,
        device: request.device.clone(),
        precision: request.precision,
        parameters: num_parameters(&classifier.network),
        // An imported network was not chosen by a split.
        chosen_by_this_split: chose && checkpoint.progress.step > 0,
        drawn_anew,
        trained_images,
        left_out,
        notes,
        measures: Measures::of(&outcomes, &loader.dataset().class_names),
        checkpoint: folder,
    };
    Ok(Evaluated {
        report,
        outcomes,
        loader,
    })
}

/// Prepares `network` to classify on `device`, with activations stored as `precision`.
///
/// # Errors
/// [`TrainError::Value`]: the device or the network has no such precision.
pub(crate) fn inference(
    network: &ShuffleNetV2,
    precision: Precision,
    device: &Device,
) -> Result<Inference, TrainError> {
    device::require_inference_precision(ASKED, precision, device)?;
    let inference = Inference::with_precision(network, precision);
    require(
        inference.precision() == precision,
        ASKED,
        format!("\"{}\" with squeeze-and-excitation", precision.name()),
        "\"f32\", in which such a network classifies",
    )?;
    Ok(inference)
}

/// The flag that sets the precision of an inference.
const ASKED: &str = "--precision";

/// Sums loss and hits of `classifier`, in float32, over the rest of `batches`. Calls `seen` with the number of images
/// after each batch. `None`: interrupted.
///
/// # Errors
/// [`TrainError::Device`], [`TrainError::Data`].
pub fn score(
    classifier: &Classifier,
    batches: Batches,
    device: &Device,
    interrupter: &Interrupter,
    seen: &mut dyn FnMut(usize),
) -> Result<Option<Tally>, TrainError> {
    let mut tally = Tally::default();
    let finished = score_each(
        &Inference::new(&classifier.network),
        batches,
        device,
        interrupter,
        false,
        &mut |logits, labels| {
            tally.add(logits, labels);
            seen(labels.len());
        },
    )?;
    Ok(finished.then_some(tally))
}

/// Calls `each` with the logits and labels of every batch. With `flip` these are the mean logits of each image and its
/// mirror image. Returns false if interrupted.
fn score_each(
    inference: &Inference,
    batches: Batches,
    device: &Device,
    interrupter: &Interrupter,
    flip: bool,
    each: &mut dyn FnMut(&[f32], &[u16]),
) -> Result<bool, TrainError> {
    let mut pending = PendingLogits::on(device);
    let mut whole = 0;
    for batch in batches {
        let mut batch = batch?;
        if interrupter.should_stop() {
            return Ok(false);
        }
        // A rank's share of a batch that is too small for all ranks.
        if batch.is_empty() {
            continue;
        }
        let labels = batch.labels.clone();
        if pending.may_wait() {
            whole = whole.max(batch.len());
            fill(&mut batch, whole);
        }
        let bytes = size_of_val(&*batch.pixels);
        let images = pixels(batch, device);
        let logits = flushed(|| match flip {
            true => {
                // Reverses the columns.
                let mirrored = inference.forward(images.clone().flip([3]));
                (inference.forward(images) + mirrored) / 2.0
            }
            false => inference.forward(images),
        });
        pending.push(Scores { logits }, labels, bytes);
        if pending.is_due() {
            pending.read(each)?;
        }
    }
    pending.read(each)?;
    Ok(true)
}

/// Fills a smaller last batch up with black images, whose logits are not read. A GPU may tune its kernels for minutes
/// for each shape, so all batches get the same shape.
fn fill(batch: &mut Batch, images: usize) {
    batch.labels.resize(images, 0);
    batch.pixels.resize(images * batch.shape.values(), 0.0);
}
