//! Loss, accuracy and what else can be measured of a network over a set: every record once, the ragged last
//! batch included.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use burn::train::Interrupter;
use serde::Serialize;
use shufflenet_data::{Batch, Batches, Loader};
use shufflenet_model::subnormals::flushed;
use shufflenet_model::{Inference, ShuffleNetV2, load_safetensors, num_parameters};

use crate::checkpoint::{AVERAGE, Checkpoint, WEIGHTS};
use crate::classifier::{Classifier, Scores, pixels};
use crate::error::TrainError;
use crate::measures::{Measures, Outcome};
use crate::tally::{Metrics, Tally};
use crate::trained::{self, Trained, Weights};
use crate::unread::Unread;
use crate::{device, sources};

/// Version of what `eval --json` prints: `docs/evaluation.md`. Keys may be added without a new one.
const FORMAT: u32 = 1;

/// What to evaluate, on what.
#[derive(Clone, Debug)]
pub struct Request {
    /// The checkpoint, see [`crate::store::locate`].
    pub checkpoint: PathBuf,
    /// Which of its weights; without a choice those that `best` was chosen by.
    pub weights: Option<Weights>,
    /// Where the data is; where the run had it, unless given.
    pub data: Option<PathBuf>,
    /// `test`, `validation` or `train`.
    pub split: String,
    /// Whether to take the mean logits of each image and its mirror image.
    pub flip: bool,
    /// Device name.
    pub device: String,
}

/// What `eval` reports; the fields of [`Metrics`] and [`Measures`] are its own in JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this shape.
    pub format: u32,
    /// The checkpoint's folder.
    pub checkpoint: PathBuf,
    /// Its weight file: the moving average where there is one and no file was named.
    pub weights: &'static str,
    /// Optimizer steps that the weights have seen.
    pub step: usize,
    /// The part of the data.
    pub split: String,
    /// Whether mirror images were looked at, too.
    pub tta: bool,
    /// Loss and accuracy.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Images per second, loading included.
    pub img_per_s: f64,
    /// Device name.
    pub device: String,
    /// Trainable parameters.
    pub parameters: usize,
    /// Whether `best` was chosen by this very set, which flatters it.
    pub chosen_by_this_split: bool,
    /// Classes, confusion, calibration.
    #[serde(flatten)]
    pub measures: Measures,
}

/// An evaluation, record by record.
pub struct Evaluated {
    /// The sums.
    pub report: Report,
    /// What was said of each record, in the loader's order.
    pub outcomes: Vec<Outcome>,
    /// The records.
    pub loader: Loader,
}

/// Evaluates a checkpoint on a part of the data, read anew.
///
/// # Errors
/// What the checkpoint, the data or the device refuses.
pub fn evaluate(request: &Request) -> Result<Evaluated, TrainError> {
    let device = device::open(&request.device)?;
    let Trained {
        folder,
        weights,
        checkpoint,
        classifier,
    } = trained::open(&request.checkpoint, request.weights, &device)?;
    let description = &checkpoint.description;
    let experiment = &description.experiment;
    let split = &request.split;
    let batch_size = experiment.train.batch_size;
    let loader = sources::split(description, request.data.as_deref(), split, batch_size)?;
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut outcomes = Vec::new();
    score_each(
        &classifier,
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
    let report = Report {
        format: FORMAT,
        weights,
        step: checkpoint.progress.step,
        split: split.clone(),
        tta: request.flip,
        img_per_s: metrics.count as f64 / start.elapsed().as_secs_f64(),
        metrics,
        device: request.device.clone(),
        parameters: num_parameters(&classifier.network),
        // What was imported was chosen by nothing of ours.
        chosen_by_this_split: experiment.chosen_by() == Some(split.as_str())
            && checkpoint.progress.step > 0,
        measures: Measures::of(&outcomes, &description.class_names),
        checkpoint: folder,
    };
    Ok(Evaluated {
        report,
        outcomes,
        loader,
    })
}

/// Which weight file of a checkpoint classifies: the moving average, by which `best` is chosen, where
/// there is one.
pub fn chosen(checkpoint: &Checkpoint) -> &'static str {
    match checkpoint.average {
        Some(_) => AVERAGE,
        None => WEIGHTS,
    }
}

/// One of the weight files of the checkpoint in `folder`.
///
/// # Errors
/// [`TrainError::Checkpoint`] where it has no such file.
pub fn weights_of<'a>(
    checkpoint: &'a Checkpoint,
    weights: &str,
    folder: &Path,
) -> Result<&'a [u8], TrainError> {
    let bytes = match weights {
        AVERAGE => checkpoint.average.as_deref(),
        _ => Some(&checkpoint.weights[..]),
    };
    bytes.ok_or_else(|| {
        TrainError::checkpoint(&folder.join(weights), "is not in the checkpoint's manifest")
    })
}

/// The network of a checkpoint by one of its weight files, on `device`, ready to classify.
///
/// # Errors
/// [`TrainError::Weights`], [`TrainError::Model`]; [`TrainError::Checkpoint`] where it has no such file.
pub fn restore(
    checkpoint: &Checkpoint,
    weights: &str,
    folder: &Path,
    device: &Device,
) -> Result<Classifier, TrainError> {
    let bytes = weights_of(checkpoint, weights, folder)?;
    let path = folder.join(weights);
    let model = &checkpoint.description.experiment.model;
    let network = ShuffleNetV2::new(model, 0, device)?;
    let network =
        load_safetensors(network, bytes).map_err(|source| TrainError::Weights { path, source })?;
    Ok(Classifier { network })
}

/// Sums loss and hits of `classifier` over all that `batches` has left; `seen` is told how many images more
/// are in. `None` where interrupted.
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
        classifier,
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

/// Hands `each` the logits and labels of every batch; with `flip` the mean logits of images and their mirror
/// images. False where interrupted.
fn score_each(
    classifier: &Classifier,
    batches: Batches,
    device: &Device,
    interrupter: &Interrupter,
    flip: bool,
    each: &mut dyn FnMut(&[f32], &[u16]),
) -> Result<bool, TrainError> {
    let inference = Inference::new(&classifier.network);
    let mut unread = Unread::on(device);
    let mut whole = 0;
    for batch in batches {
        let mut batch = batch?;
        if interrupter.should_stop() {
            return Ok(false);
        }
        // The share of a rank beyond the last record.
        if batch.is_empty() {
            continue;
        }
        let labels = batch.labels.clone();
        if unread.may_wait() {
            whole = whole.max(batch.len());
            fill(&mut batch, whole);
        }
        let bytes = size_of_val(&*batch.pixels);
        let images = pixels(batch, device);
        let logits = flushed(|| match flip {
            true => {
                // Columns in reverse.
                let mirrored = inference.forward(images.clone().flip([3]));
                (inference.forward(images) + mirrored) / 2.0
            }
            false => inference.forward(images),
        });
        unread.push(Scores { logits }, labels, bytes);
        if unread.is_due() {
            unread.read(each)?;
        }
    }
    unread.read(each)?;
    Ok(true)
}

/// Adds black images, whose logits nobody reads, to a ragged last batch: a GPU chooses its kernels by
/// shape, for minutes at times, and is to see one.
fn fill(batch: &mut Batch, images: usize) {
    batch.labels.resize(images, 0);
    batch.pixels.resize(images * batch.shape.values(), 0.0);
}
