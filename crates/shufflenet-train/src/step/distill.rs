//! Applies `[distill]`: finds the teachers, checks that they fit the run's data, and prepares them.
//!
//! A teacher gets the student's pixels. If it was trained with another normalisation, the pixels are converted. With
//! the mean `m` and the deviation `s` of a channel for the student, and `m'` and `s'` for the teacher:
//!
//! ```text
//! (p - m') / s' = x s / s' + (m - m') / s',    x = (p - m) / s
//! ```
//!
//! This also holds for mixtures and means of pixels, which mixing and smaller images make.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use shufflenet_data::{Normalization, orders_differ};
use shufflenet_model::{
    ClassifierStart, Inference, ModelConfig, Precision, ShuffleNetV2, load_for_fine_tuning,
    num_parameters,
};

use crate::checkpoint;
use crate::checkpoint::description::Description;
use crate::data::trained_on::seen::seen;
use crate::display::words::{counted, first_classes};
use crate::error::TrainError;
use crate::evaluation::trained::{self, Found};
use crate::experiment::Experiment;
use crate::recipe::distill::Distill;
use crate::recipe::progressive;
use crate::step::fine_tune::{MOST_NAMED, rows_by_name};
use crate::step::teacher::{Member, Teacher};

const KEY: &str = "distill.from";

/// Teachers with their lines and checksums.
pub struct Opened {
    /// The teachers as one teacher.
    pub teacher: Teacher,
    /// SHA-256 of each.
    pub sha256: Vec<String>,
    /// Lines that describe them.
    pub lines: Vec<String>,
}

/// Opens the teachers of the run that `now` describes, on `device`. `None`: it has none.
///
/// # Errors
/// What a checkpoint refuses; [`TrainError::Value`]: other classes, other channels, images that are too small.
pub fn open(now: &Description, device: &Device) -> Result<Option<Opened>, TrainError> {
    let experiment = &now.experiment;
    let Some(distill) = &experiment.distill else {
        return Ok(None);
    };
    distill.check_classes(now.class_names.len())?;
    let smallest = smallest(experiment, distill, now.input);
    let (mut members, mut sha256, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for path in &distill.from.0 {
        let found = trained::find(path, None).map_err(|error| error.named_by(KEY))?;
        let then = &found.checkpoint.description;
        let model = &then.experiment.model;
        check_images(path, model, smallest, now.input[0])?;
        let (rows, note) = classes(path, then, now)?;
        let (network, parameters) = network(&found, &rows, experiment.train.precision, device)?;
        lines.push(format!(
            "teacher    {}: {}: {}",
            found.path().display(),
            model.in_words(None),
            counted(parameters, "parameter")
        ));
        lines.extend(note.map(|note| format!("teacher    {note}")));
        lines.extend(seen(then, now).map(|seen| format!("teacher    {seen}")));
        lines.extend(smaller_images(then.input, smallest));
        let is_same = then.normalization == now.normalization;
        if !is_same {
            lines.push(
                "teacher    pixels are converted to the normalisation that it was trained with"
                    .into(),
            );
        }
        members.push(Member {
            network,
            conversion: (!is_same)
                .then(|| conversion(&now.normalization, &then.normalization, device)),
        });
        sha256.push(checkpoint::sha256(&found.folder, found.bytes()?)?);
    }
    lines.push(format!("teacher    {distill}"));
    Ok(Some(Opened {
        teacher: Teacher::new(members, now.class_names.len(), distill.loss()),
        sha256,
        lines,
    }))
}

/// Opens teachers on `device` for a benchmark on noise with a student of configuration `student`. Names of classes and
/// normalisation do not matter for noise.
///
/// # Errors
/// The errors of [`open`].
pub fn open_for_noise(
    distill: &Distill,
    student: &ModelConfig,
    precision: Precision,
    device: &Device,
) -> Result<Teacher, TrainError> {
    let mut members = Vec::new();
    for path in &distill.from.0 {
        let found = trained::find(path, None).map_err(|error| error.named_by(KEY))?;
        let model = &found.checkpoint.description.experiment.model;
        check_channels(path, model, student.input_channels())?;
        let (taught, own) = (model.classes(), student.classes());
        if taught != own {
            return Err(refused(
                path,
                &counted(taught, "class"),
                &counted(own, "class"),
            ));
        }
        let rows: Vec<usize> = (0..own).collect();
        let (network, _) = network(&found, &rows, precision, device)?;
        members.push(Member {
            network,
            conversion: None,
        });
    }
    Ok(Teacher::new(members, student.classes(), distill.loss()))
}

/// The network of a checkpoint with the given rows as classes, and its number of parameters.
fn network(
    found: &Found,
    rows: &[usize],
    precision: Precision,
    device: &Device,
) -> Result<(Inference, usize), TrainError> {
    let model = &found.checkpoint.description.experiment.model;
    let network = ShuffleNetV2::new(model, 0, device)?;
    let rows = ClassifierStart::Rows(rows);
    let loaded = load_for_fine_tuning(network, found.bytes()?, rows);
    let path = found.path();
    let (network, _) = loaded.map_err(|source| TrainError::Weights { path, source })?;
    let parameters = num_parameters(&network);
    Ok((Inference::with_precision(&network, precision), parameters))
}

fn refused(path: &Path, found: &str, accepted: &str) -> TrainError {
    TrainError::Value {
        key: KEY.into(),
        found: format!("{}, a network for {found}", path.display()),
        accepted: format!("a network for {accepted}, as the student is one"),
    }
}

/// The shortest side of the images that the teacher sees.
fn smallest(experiment: &Experiment, distill: &Distill, [_, height, width]: [usize; 3]) -> usize {
    let stages = experiment.train.progressive.iter();
    let taught = stages.filter(|stage| stage.until_epoch > distill.after_epoch);
    let [height, width] = progressive::smallest(taught, [height, width]);
    height.min(width)
}

/// A line on a teacher that sees images below its full size, about which it is often wrong.
fn smaller_images([_, height, width]: [usize; 3], smallest: usize) -> Option<String> {
    let full = height.min(width);
    let line =
        || format!("teacher    is for images of {full} pixels, and sees images of {smallest}");
    (smallest < full).then(line)
}

/// Refuses a teacher for images of other channels, or one whose stem is too large for images of side `smallest`.
fn check_images(
    path: &Path,
    model: &ModelConfig,
    smallest: usize,
    channels: usize,
) -> Result<(), TrainError> {
    check_channels(path, model, channels)?;
    model
        .validate(smallest, smallest)
        .map_err(|error| TrainError::Value {
            key: KEY.into(),
            found: format!("{}: {error}", path.display()),
            accepted: "a network for the student's images".into(),
        })
}

fn check_channels(path: &Path, model: &ModelConfig, channels: usize) -> Result<(), TrainError> {
    let of = |channels: usize| format!("images of {}", counted(channels, "channel"));
    match model.input_channels() == channels {
        true => Ok(()),
        false => Err(refused(path, &of(model.input_channels()), &of(channels))),
    }
}

/// The rows of the teacher's classifier in the order of the student's classes, and a line about them, if any.
fn classes(
    path: &Path,
    then: &Description,
    now: &Description,
) -> Result<(Vec<usize>, Option<String>), TrainError> {
    let (old, new) = (&then.class_names, &now.class_names);
    if then.unnamed && old.len() == new.len() {
        if orders_differ(new) {
            return Err(TrainError::Value {
                key: KEY.into(),
                found: format!(
                    "{}, a network without class names, whose order is ambiguous for {}",
                    path.display(),
                    first_classes(new, MOST_NAMED)
                ),
                accepted: "an import with --class-names".into(),
            });
        }
        let note = format!(
            "it has no class names, its outputs are taken as {}",
            first_classes(new, MOST_NAMED)
        );
        return Ok(((0..new.len()).collect(), Some(note)));
    }
    let note = "its classes are in another order, and matched by name";
    match rows_by_name(old, new) {
        Some(rows) => Ok((rows, (old != new).then(|| note.into()))),
        None => {
            let missing = new.iter().find(|name| !old.contains(name));
            let without = missing.map_or(String::new(), |name| format!(", {name} not among them"));
            let of = |names: &[String]| format!("the classes {}", first_classes(names, MOST_NAMED));
            Err(refused(path, &(of(old) + &without), &of(new)))
        }
    }
}

/// Factor and term that convert pixels normalised by `from` to pixels normalised by `to`, `[1, channels, 1, 1]`.
fn conversion(from: &Normalization, to: &Normalization, device: &Device) -> [Tensor<4>; 2] {
    let means = from.mean.iter().zip(&to.mean);
    let deviations = from.std.iter().zip(&to.std);
    let (factors, terms): (Vec<f32>, Vec<f32>) = means
        .zip(deviations)
        .map(|((m, m1), (s, s1))| (s / s1, (m - m1) / s1))
        .unzip();
    let channels = factors.len();
    [factors, terms]
        .map(|values| Tensor::from_data(TensorData::new(values, [1, channels, 1, 1]), device))
}
