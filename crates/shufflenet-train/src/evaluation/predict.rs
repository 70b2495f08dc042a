//! `shufflenet predict`: the classes of images without labels.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use serde::Serialize;
use shufflenet_data::{DataError, Preparation};
use shufflenet_model::subnormals::flushed;
use shufflenet_model::{Inference, Precision};

use crate::checkpoint::description::Description;
use crate::data::inputs::{Input, inputs};
use crate::device;
use crate::error::TrainError;
use crate::evaluation;
use crate::evaluation::trained::{self, Weights};
use crate::step::classifier::Scores;
use shufflenet_model::softmax;

/// Which images to classify, and by which checkpoint.
pub struct PredictionRequest {
    /// The checkpoint, see [`crate::checkpoint::store::locate`].
    pub checkpoint: PathBuf,
    /// Which weights of the checkpoint. `None`: the weights that `best` was chosen by.
    pub weights: Option<Weights>,
    /// Files, folders, patterns, `-`; see [`crate::data::inputs`].
    pub images: Vec<PathBuf>,
    /// Number of classes to name for each image.
    pub top: usize,
    /// Images that go through the network at once.
    pub batch: usize,
    /// Whether to return all logits, too.
    pub logits: bool,
    /// Device name.
    pub device: String,
    /// Type of the stored activations.
    pub precision: Precision,
}

impl PredictionRequest {
    /// The five likeliest classes of each of `images` by `checkpoint` (a run folder: its best), on the CPU.
    pub fn new(
        checkpoint: impl Into<PathBuf>,
        images: impl IntoIterator<Item = impl Into<PathBuf>>,
    ) -> Self {
        Self {
            checkpoint: checkpoint.into(),
            weights: None,
            images: images.into_iter().map(Into::into).collect(),
            top: 5,
            batch: 64,
            logits: false,
            device: device::DEFAULT.into(),
            precision: Precision::F32,
        }
    }
}

/// The prediction for one image.
#[derive(Debug, Serialize)]
pub struct Prediction {
    /// Path of the image.
    pub path: String,
    /// The likeliest classes, the likeliest first. Empty if the image cannot be decoded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Ranked>,
    /// The logits of all classes, if they were requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logits: Vec<f32>,
    /// Why the image cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A class with its probability.
#[derive(Debug, Serialize)]
pub struct Ranked {
    /// Number of the class, from 0.
    pub class: usize,
    /// Name of the class.
    pub name: String,
    /// Probability, 0 to 1.
    pub probability: f64,
}

/// Calls `each` with the prediction for each image, in the order of the arguments, until it returns false. An image that
/// cannot be decoded gets a prediction with an error. Returns the number of such images.
///
/// # Errors
/// Errors of the checkpoint or the device.
pub fn predict(
    request: &PredictionRequest,
    each: &mut dyn FnMut(&Prediction) -> bool,
) -> Result<usize, TrainError> {
    let device = device::open(&request.device)?;
    let trained = trained::open(&request.checkpoint, request.weights, &device)?;
    let description = &trained.checkpoint.description;
    let preparation = preparation(description)?;
    let network = &trained.classifier.network;
    let inference = evaluation::inference(network, request.precision, &device)?;
    let mut bad = 0;
    let mut images = inputs(&request.images);
    loop {
        let batch: Vec<Input> = images.by_ref().take(request.batch).collect();
        if batch.is_empty() {
            return Ok(bad);
        }
        let prepare = |input: &Input| preparation.pixels(&input.bytes()?);
        let prepared: Vec<Result<Vec<f32>, String>> =
            flushed(|| batch.par_iter().map(prepare).collect());
        let good: Vec<&[f32]> = prepared.iter().flatten().map(Vec::as_slice).collect();
        let logits = logits(&inference, &good, preparation.shape(), &device)?;
        let mut rows = logits.chunks(description.class_names.len().max(1));
        for (input, prepared) in batch.into_iter().zip(&prepared) {
            let row = match prepared {
                Ok(_) => rows.next().unwrap_or_default(),
                Err(_) => &[],
            };
            bad += usize::from(prepared.is_err());
            let prediction = Prediction {
                path: input.name,
                top: rank(row, &description.class_names, request.top),
                logits: if request.logits {
                    row.to_vec()
                } else {
                    Vec::new()
                },
                error: prepared.as_ref().err().cloned(),
            };
            if !each(&prediction) {
                return Ok(bad);
            }
        }
    }
}

/// The logits of prepared images, row after row.
fn logits(
    inference: &Inference,
    images: &[&[f32]],
    [channels, height, width]: [usize; 3],
    device: &Device,
) -> Result<Vec<f32>, TrainError> {
    if images.is_empty() {
        return Ok(Vec::new());
    }
    let shape = [images.len(), channels, height, width];
    let pixels = Tensor::from_data(TensorData::new(images.concat(), shape), device);
    let scores = Scores {
        logits: flushed(|| inference.forward(pixels)),
    };
    Ok(scores.to_host()?)
}

/// How evaluation prepares images of the set that the network was trained on. Photographs are resized and cropped as
/// configured; other images are resized to the size of the set's.
fn preparation(description: &Description) -> Result<Preparation, TrainError> {
    let [size, resize] = sides(description)?;
    let preparation = Preparation::new(size, resize, &description.normalization);
    Ok(preparation.map_err(DataError::from)?)
}

/// Side of the square that the network gets, and the shorter side of an image before the square is cropped from its middle.
///
/// # Errors
/// [`TrainError::Value`] for a network of images that are not square.
pub(crate) fn sides(description: &Description) -> Result<[u32; 2], TrainError> {
    let [_, height, width] = description.input;
    if height != width {
        return Err(TrainError::Value {
            key: "the size of the network's images".into(),
            found: format!("{height}x{width}"),
            accepted: "a square, to predict on files".into(),
        });
    }
    Ok([side(height), shorter_side(description)])
}

/// The shorter side of an image before the network's square is cropped from its middle. Images of sets without encoded
/// images are resized to the network's size.
pub(crate) fn shorter_side(description: &Description) -> u32 {
    let [_, height, _] = description.input;
    let data = &description.experiment.data;
    match data.format.is_encoded() && data.options.size as usize == height {
        true => data.options.resize(),
        false => side(height),
    }
}

/// A side of an image. [`Preparation::new`] refuses one that is too long.
fn side(pixels: usize) -> u32 {
    pixels.try_into().unwrap_or(u32::MAX)
}

/// The `top` likeliest classes. Of equally likely classes the lower comes first.
fn rank(logits: &[f32], names: &[String], top: usize) -> Vec<Ranked> {
    let probabilities = softmax(logits);
    let mut ranked: Vec<Ranked> = probabilities
        .into_iter()
        .zip(names)
        .enumerate()
        .map(|(class, (probability, name))| Ranked {
            class,
            name: name.clone(),
            probability,
        })
        .collect();
    ranked.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    ranked.truncate(top);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ranked_and_the_lower_of_equals_comes_first() {
        let names = ["a", "b", "c"].map(String::from);
        let ranked = rank(&[0.0, 2f32.ln(), 0.0], &names, 2);
        let found: Vec<(usize, f64)> = ranked.iter().map(|r| (r.class, r.probability)).collect();
        assert_eq!((found[0].0, found[1].0), (1, 0));
        assert!((found[0].1 - 0.5).abs() < 1e-6 && (found[1].1 - 0.25).abs() < 1e-6);
        assert!(rank(&[], &names, 2).is_empty());
    }
}
