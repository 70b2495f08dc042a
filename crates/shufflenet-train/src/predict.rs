//! What a trained network says of images that nobody has labelled.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use serde::Serialize;
use shufflenet_data::Preparation;
use shufflenet_model::Inference;
use shufflenet_model::subnormals::flushed;

use crate::checkpoint::Description;
use crate::classifier::Scores;
use crate::device;
use crate::error::TrainError;
use crate::inputs::{Input, inputs};
use crate::tally::softmax;
use crate::trained::{self, Weights};

/// What to predict, and by what.
pub struct Request {
    /// The checkpoint, see [`crate::store::locate`].
    pub checkpoint: PathBuf,
    /// Which of its weights.
    pub weights: Option<Weights>,
    /// Files, folders, patterns, `-`; see [`crate::inputs`].
    pub images: Vec<PathBuf>,
    /// How many classes to name.
    pub top: usize,
    /// Images that go through the network at once.
    pub batch: usize,
    /// Whether to give all logits, too.
    pub logits: bool,
    /// Device name.
    pub device: String,
}

/// What is said of one image.
#[derive(Debug, Serialize)]
pub struct Prediction {
    /// Its path.
    pub path: String,
    /// The likeliest classes, the likeliest first; none of an image that cannot be decoded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Ranked>,
    /// Every class's logit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logits: Vec<f32>,
    /// Why there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A class and how likely it is.
#[derive(Debug, Serialize)]
pub struct Ranked {
    /// Its number, from 0.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// 0 to 1.
    pub probability: f64,
}

/// Hands `each` what is said of each image, in the order of the arguments, batch after batch, until it
/// returns false; an image that cannot be decoded is said to be one, and passed over. Returns how many those were.
///
/// # Errors
/// What the checkpoint or the device refuses.
pub fn predict(
    request: &Request,
    each: &mut dyn FnMut(&Prediction) -> bool,
) -> Result<usize, TrainError> {
    let device = device::open(&request.device)?;
    let trained = trained::open(&request.checkpoint, request.weights, &device)?;
    let description = &trained.checkpoint.description;
    let preparation = preparation(description)?;
    let inference = Inference::new(&trained.classifier.network);
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

/// The logits of prepared images, row after row; of none, none.
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

/// The way that evaluation has with the images of the set that the network was trained on: photographs are
/// resized and cropped as configured, and others brought to the size of the set's.
fn preparation(description: &Description) -> Result<Preparation, TrainError> {
    let [_, height, width] = description.input;
    let data = &description.experiment.data;
    if height != width {
        return Err(TrainError::Value {
            key: "the size of the network's images".into(),
            found: format!("{height}x{width}"),
            accepted: "a square, to predict on files".into(),
        });
    }
    let size = height as u32;
    let resize = match data.format.is_encoded() && data.options.size == size {
        true => data.options.resize(),
        false => size,
    };
    Ok(Preparation::new(size, resize, &description.normalization)?)
}

/// The `top` likeliest classes; the lower of equals comes first.
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
