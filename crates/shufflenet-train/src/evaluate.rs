//! Loss and accuracy of a network over a set: every record once, the ragged last batch included.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use burn::train::Interrupter;
use serde::Serialize;
use shufflenet_data::{Batch, Batches};
use shufflenet_model::{Inference, ShuffleNetV2, load_safetensors, num_parameters};

use crate::checkpoint::{self, AVERAGE, Checkpoint, WEIGHTS};
use crate::classifier::{Classifier, Scores, pixels};
use crate::error::TrainError;
use crate::store::{self, Located};
use crate::tally::{Metrics, Tally};
use crate::unread::Unread;
use crate::{device, sources};

/// What `eval` reports; the fields of [`Metrics`] are its own in JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The checkpoint's folder.
    pub checkpoint: PathBuf,
    /// Its weight file: the moving average where there is one and no file was named.
    pub weights: &'static str,
    /// Optimizer steps that the weights have seen.
    pub step: usize,
    /// The part of the data.
    pub split: String,
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
}

/// Evaluates the checkpoint at `path` (see [`store::locate`]) on a part of the data, read anew.
///
/// # Errors
/// What the checkpoint, the data or the device refuses.
pub fn evaluate(
    path: &Path,
    data: Option<&Path>,
    split: &str,
    device_name: &str,
) -> Result<Report, TrainError> {
    let device = device::open(device_name)?;
    let Located { folder, file } = store::locate(path)?;
    let checkpoint = checkpoint::load(&folder)?;
    let description = &checkpoint.description;
    let experiment = &description.experiment;
    let loader = sources::split(description, data, split, experiment.train.batch_size)?;
    let weights = file.unwrap_or(chosen(&checkpoint));
    let classifier = restore(&checkpoint, weights, &folder, &device)?;
    let start = Instant::now();
    let tally = score(
        &classifier,
        loader.epoch(0, 0),
        &device,
        &Interrupter::new(),
    )?;
    let metrics = tally.unwrap_or_default().metrics();
    let chosen_by = match experiment.data.validation == 0.0 {
        true => "test",
        false => "validation",
    };
    Ok(Report {
        checkpoint: folder,
        weights,
        step: checkpoint.progress.step,
        split: split.into(),
        img_per_s: metrics.count as f64 / start.elapsed().as_secs_f64(),
        metrics,
        device: device_name.into(),
        parameters: num_parameters(&classifier.network),
        chosen_by_this_split: chosen_by == split,
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

/// Sums loss and hits of `classifier` over all that `batches` has left. `None` where interrupted.
///
/// # Errors
/// [`TrainError::Device`], [`TrainError::Data`].
pub fn score(
    classifier: &Classifier,
    batches: Batches,
    device: &Device,
    interrupter: &Interrupter,
) -> Result<Option<Tally>, TrainError> {
    let inference = Inference::new(&classifier.network);
    let mut tally = Tally::default();
    let mut unread = Unread::on(device);
    let mut whole = 0;
    for batch in batches {
        let mut batch = batch?;
        if interrupter.should_stop() {
            return Ok(None);
        }
        let labels = batch.labels.clone();
        if unread.may_wait() {
            whole = whole.max(batch.len());
            fill(&mut batch, whole);
        }
        let bytes = size_of_val(&*batch.pixels);
        let logits = inference.forward(pixels(batch, device));
        unread.push(Scores { logits }, labels, bytes);
        if unread.is_due() {
            unread.read_into(&mut tally)?;
        }
    }
    unread.read_into(&mut tally)?;
    Ok(Some(tally))
}

/// Adds black images, whose logits nobody reads, to a ragged last batch: a GPU chooses its kernels by
/// shape, for minutes at times, and is to see one.
fn fill(batch: &mut Batch, images: usize) {
    batch.labels.resize(images, 0);
    batch.pixels.resize(images * batch.shape.values(), 0.0);
}
