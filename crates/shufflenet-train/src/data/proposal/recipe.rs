//! Chooses the recipe for the data.
//!
//! `docs/photographs.md` has the measurements that these numbers are based on.

use std::path::Path;

use shufflenet_data::{Augmentation, OnBadImage, Options, Split, held_out};
use shufflenet_model::{ModelConfig, Scale, Stem};

use super::Facts;
use crate::checkpoint::description::Description;
use crate::error::TrainError;
use crate::experiment::{DataConfig, Experiment, TrainConfig, settings};
use crate::recipe::fine_tune::FineTune;
use crate::recipe::loss::LossConfig;
use crate::recipe::optimizer::{OptimizerConfig, OptimizerKind, Part};
use crate::recipe::progressive::Stage;
use crate::recipe::schedule::ScheduleConfig;

/// The largest images that keep their size. A stem that reduces them by four would leave too few pixels.
const SMALL: usize = 64;
/// Data with fewer images than this is small.
const FEW: usize = 10_000;
/// Side of the square that photographs are resized to, as on ImageNet.
const PHOTOGRAPH: usize = 224;
/// Smallest side, and its step, for the stem that reduces by four.
const REDUCED: usize = 96;
const STEP: usize = 32;

/// The experiment for `facts`. `overrides` are applied later. Choices that depend on the number of epochs, the batch
/// and the image size use the user's values.
///
/// # Errors
/// [`TrainError::Value`]: a class whose only image cannot be trained on and held out.
pub(super) fn experiment(facts: &Facts, overrides: &[String]) -> Result<Experiment, TrainError> {
    let asked = |key: &str| settings::value_of(overrides, key)?.parse::<usize>().ok();
    let validation = match settings::value_of(overrides, "data.validation") {
        Some(fraction) => fraction.parse().unwrap_or_default(),
        None => validation(facts)?,
    };
    let images = facts
        .set
        .len()
        .saturating_sub(held_out_of(facts, validation))
        .max(1);
    let batch = asked("train.batch_size").unwrap_or_else(|| batch_size(images));
    let start = facts.start.as_ref().map(|start| &start.description);
    let model = match start {
        Some(description) => ModelConfig {
            classes: None,
            input_channels: channels(facts),
            ..description.experiment.model.clone()
        },
        None => ModelConfig {
            scale: scale(images),
            stem: Some(stem(facts)),
            input_channels: channels(facts),
            ..ModelConfig::default()
        },
    };
    let (optimizer, length) = match start {
        Some(_) => (fine_tuning(batch), FINE_TUNING),
        None => (
            from_scratch(settings::value_of(overrides, "optimizer.kind").as_deref()),
            FROM_SCRATCH,
        ),
    };
    let epochs = asked("train.epochs").unwrap_or_else(|| length.epochs(images));
    let options = options(facts, start, asked("data.options.size"));
    let progressive = match start {
        Some(_) => Vec::new(),
        None => progressive(size(facts, &options), epochs),
    };
    let channels = asked("model.input_channels").or(model.input_channels);
    let fitting = start.filter(|description| {
        facts.format.is_encoded()
            && channels.is_none_or(|channels| channels == description.input[0])
    });
    Ok(Experiment {
        name: name(facts.root),
        data: DataConfig {
            format: facts.format,
            root: facts.root.into(),
            options,
            check: Default::default(),
            validation,
            validation_seed: None,
            limit: None,
            normalization: fitting.map(|description| description.normalization.clone()),
            augmentation: augmentation(facts),
            workers: if facts.format.is_encoded() { 2 } else { 1 },
        },
        train: TrainConfig {
            epochs,
            batch_size: batch,
            drop_last: true,
            evaluate_every: (epochs / 30).max(1),
            progressive,
            ..TrainConfig::default()
        },
        loss: LossConfig {
            label_smoothing: 0.1,
            class_weights: None,
        },
        optimizer,
        schedule: ScheduleConfig {
            warmup_epochs: (epochs as f64 / 20.0).clamp(0.5, 5.0),
            ..ScheduleConfig::default()
        },
        fine_tune: FineTune {
            from: facts.start.as_ref().map(|start| start.path.clone()),
            ..FineTune::default()
        },
        distill: None,
        model,
        checkpoint: Default::default(),
        cluster: Default::default(),
    })
}

/// The run's name: that of the folder, list or archive.
pub(super) fn name(root: &Path) -> String {
    let resolved = root.canonicalize();
    let path = resolved.as_deref().unwrap_or(root);
    let name = match path.is_dir() {
        true => path.file_name(),
        false => path.file_stem(),
    };
    let name = name.unwrap_or_default().to_string_lossy();
    match name.trim_start_matches('.') {
        "" => "data".into(),
        name => name.into(),
    }
}

/// The number of images that `fraction` holds out.
pub(super) fn held_out_of(facts: &Facts, fraction: f64) -> usize {
    let of_class = |&count: &usize| held_out(fraction, count);
    facts.counts.iter().map(of_class).sum()
}

/// The fraction of each class that is held out: a tenth, or a fifth of fewer than a thousand images, and enough for one
/// image of the smallest class. 0 if the data has a validation part, or a test part and a class of one image.
fn validation(facts: &Facts) -> Result<f64, TrainError> {
    if facts.parts.contains(&Split::Validation) {
        return Ok(0.0);
    }
    let classes = facts.counts.iter().zip(&facts.set.class_names);
    let Some((&fewest, class)) = classes.min_by_key(|&(count, _)| count) else {
        return Ok(0.0);
    };
    if fewest < 2 {
        return match facts.parts.contains(&Split::Test) {
            true => Ok(0.0),
            false => Err(too_few(facts, class, fewest)),
        };
    }
    let usual: f64 = if facts.set.len() < 1000 { 0.2 } else { 0.1 };
    // Half an image rounds to one.
    let of_the_smallest = (50.0 / fewest as f64).ceil() / 100.0;
    Ok(usual.max(of_the_smallest).min(0.5))
}

/// The refusal of a class with too few images, with the files that were skipped.
fn too_few(facts: &Facts, class: &str, count: usize) -> TrainError {
    let passed_over = &facts.set.passed_over;
    let found = match passed_over.is_empty() {
        true => count.to_string(),
        false => format!("{count} ({passed_over})"),
    };
    TrainError::Value {
        key: format!("the number of images of class {class}"),
        found,
        accepted: "2 or more, one to train on and one held out to choose the best epoch by".into(),
    }
}

/// A twentieth of the images as a power of two, 8 to 64.
fn batch_size(images: usize) -> usize {
    let twentieth = (images / 20).max(1).next_power_of_two();
    twentieth.clamp(8, 64).min(images)
}

/// The length of the training: the total number of images to show, and the limits of epochs.
struct Length {
    images: usize,
    fewest: usize,
    most: usize,
}

const FROM_SCRATCH: Length = Length {
    images: 100_000,
    fewest: 20,
    most: 120,
};
const FINE_TUNING: Length = Length {
    images: 20_000,
    fewest: 8,
    most: 40,
};

impl Length {
    fn epochs(&self, images: usize) -> usize {
        // Rounded to the nearest.
        ((self.images + images / 2) / images).clamp(self.fewest, self.most)
    }
}

/// The smallest width for few images, because a wider network is not better on them.
fn scale(images: usize) -> Scale {
    match images < FEW {
        true => Scale::Half,
        false => Scale::One,
    }
}

fn is_small(facts: &Facts) -> bool {
    facts.appearance.shorter_side <= SMALL
}

fn stem(facts: &Facts) -> Stem {
    match is_small(facts) {
        true => Stem::Cifar,
        false => Stem::Imagenet,
    }
}

/// Channels of the network's input. `None`: those of the data.
fn channels(facts: &Facts) -> Option<usize> {
    let is_encoded = facts.format.is_encoded();
    match &facts.start {
        _ if !is_encoded => None,
        Some(start) => start.description.input.first().copied(),
        None if facts.appearance.is_grey => Some(1),
        None => Some(3),
    }
}

/// Size of the images: that of the weights, that of small images, or at most 224.
fn options(facts: &Facts, start: Option<&Description>, asked: Option<usize>) -> Options {
    let side = facts.appearance.shorter_side;
    let reduced = (side + STEP / 2) / STEP * STEP;
    let (size, resize) = match start {
        Some(description) => {
            let size = description.input[1];
            let theirs = &description.experiment.data.options;
            let resize = theirs.resize.filter(|_| theirs.size as usize == size);
            (size, resize)
        }
        None if is_small(facts) => (side.max(8), Some(side.max(8) as u32)),
        None => (reduced.clamp(REDUCED, PHOTOGRAPH), None),
    };
    let encoded = Options {
        size: asked.unwrap_or(size) as u32,
        resize: resize.filter(|_| asked.is_none()),
        on_bad_image: OnBadImage::Skip,
        ..Options::default()
    };
    match facts.format.is_encoded() {
        true => encoded,
        false => Options::default(),
    }
}

/// Side of the images that the network gets, in pixels.
pub(super) fn size(facts: &Facts, options: &Options) -> usize {
    match facts.format.is_encoded() {
        true => options.size as usize,
        false => facts.appearance.shorter_side,
    }
}

/// Images at half their size in the first third of the epochs and at three quarters in the second: a quarter and half of
/// the work (docs/recipes.md, "Progressive resizing").
fn progressive(side: usize, epochs: usize) -> Vec<Stage> {
    const SMALLEST: usize = 14;
    if side / 2 < SMALLEST || epochs < 3 {
        return Vec::new();
    }
    let stage = |third: usize, size: usize| Stage {
        until_epoch: epochs * third / 3,
        size,
    };
    vec![stage(1, side / 2), stage(2, side * 3 / 4)]
}

/// Random windows of photographs, shifts of small images; mirror images, but not of small grey ones, which may be letters
/// or digits.
fn augmentation(facts: &Facts) -> Augmentation {
    let shifts = is_small(facts) || !facts.format.is_encoded();
    Augmentation {
        crop_padding: if shifts {
            facts.appearance.shorter_side / 8
        } else {
            0
        },
        random_resized_crop: !shifts,
        flip: !(facts.appearance.is_grey && is_small(facts)),
        ..Augmentation::default()
    }
}

/// Muon, or the user's optimizer with a suitable rate.
fn from_scratch(kind: Option<&str>) -> OptimizerConfig {
    let (learning_rate, weight_decay) = match kind {
        Some("adamw") => (0.002, 0.05),
        Some("lion") => (0.0002, 0.5),
        Some("sgd") => (0.05, 5e-4),
        _ => (0.1, 5e-4),
    };
    OptimizerConfig {
        kind: OptimizerKind::Muon,
        learning_rate,
        weight_decay,
        ..OptimizerConfig::default()
    }
}

/// The classifier is new and has a higher rate than the other parameters.
fn fine_tuning(batch: usize) -> OptimizerConfig {
    OptimizerConfig {
        learning_rate: 0.01 * batch as f64 / 32.0,
        weight_decay: 1e-4,
        parts: vec![Part {
            names: "fc.*".into(),
            rate: 10.0,
            decay: 1.0,
        }],
        ..OptimizerConfig::default()
    }
}
