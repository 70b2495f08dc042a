//! Opens the data of a training run: the records to train on, those that choose the best epoch, and those to test on.
//!
//! A validation part chooses `best`: the data's own (`val/`), or the fraction `data.validation` of the training part,
//! stratified and seeded. The test set is then read once, at the end. Without a validation part the test set chooses, and
//! every report says so. Labels are matched by the names of the training part's classes, and every class must have a
//! training image.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use shufflenet_data::{
    DataError, Dataset, ImageShape, Loader, Normalization, Options, Split, UnknownClasses, holdout,
    normalization_of,
};
use shufflenet_model::ModelConfig;

use crate::data::check::check;
use crate::data::class_images::class_images;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::files::hex;
use crate::recipe::loss::LossConfig;

/// The data of a training run.
pub struct Sources {
    /// The network. Classes and channels that the experiment leaves out are those of the data.
    pub model: ModelConfig,
    /// The loss. Balanced class weights are numbers here.
    pub loss: LossConfig,
    /// Number of training images of each class.
    pub class_images: Vec<usize>,
    /// The training records, shuffled and augmented.
    pub train: Loader,
    /// The records that choose the best epoch, in order.
    pub evaluation: Loader,
    /// `validation` or `test`: the part that `evaluation` reads.
    pub evaluation_split: &'static str,
    /// The test set, if `evaluation` does not read it.
    pub test: Option<Loader>,
    /// Name of the set.
    pub name: String,
    /// SHA-256 of all pixels and labels ([`Dataset::identify`]), of the training, the validation and then the test
    /// part. A resumed run must find the same, wherever the files are.
    pub sha256: String,
    /// Lines on files that were skipped or left out.
    pub notes: Vec<String>,
    /// Size of an image.
    pub shape: ImageShape,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// The normalisation of pixels.
    pub normalization: Normalization,
}

impl Sources {
    /// Shares each batch between `ranks` ranks. This process has the number `rank`.
    pub fn shared(self, rank: usize, ranks: usize) -> Self {
        Self {
            train: self.train.shared(rank, ranks),
            evaluation: self.evaluation.shared(rank, ranks),
            test: self.test.map(|test| test.shared(rank, ranks)),
            ..self
        }
    }

    /// The parts of the data with their names.
    pub fn parts(&self) -> Vec<(&'static str, &Dataset)> {
        let (train, evaluation) = (self.train.dataset(), self.evaluation.dataset());
        let mut parts = vec![("train", train)];
        if !std::ptr::eq(train, evaluation) {
            parts.push((self.evaluation_split, evaluation));
        }
        parts.extend(self.test.as_ref().map(|test| ("test", test.dataset())));
        parts
    }
}

/// Opens the data of `experiment`, decodes what it has not decoded before, and checks that the network fits the data.
///
/// # Errors
/// Errors of the data; [`TrainError::BadImages`]; [`TrainError::Value`]: parts that are missing, a class without
/// training images, channels or classes of the network that are not the data's.
pub fn open(experiment: &Experiment) -> Result<Sources, TrainError> {
    let data = &experiment.data;
    let Parts {
        train,
        validation,
        test,
        notes,
    } = Parts::open(experiment)?;
    let mut model = experiment.model.clone();
    model.classes.get_or_insert(train.classes());
    model.input_channels.get_or_insert(train.shape.channels);
    check_fit(&model, &train)?;
    experiment.loss.check(model.classes())?;

    let (records, held_out) = division(experiment, &train)?;
    let class_images = class_images(&train, &records)?;
    let normalization = match &data.normalization {
        Some(given) => given.clone(),
        None => normalization_of(&train, &records)?,
    };
    normalization
        .check(train.shape.channels)
        .map_err(DataError::from)?;
    data.augmentation.check(&train)?;

    let batch = experiment.train.batch_size;
    let loader = |dataset: &Arc<Dataset>, records: Vec<u32>| {
        Loader::new(dataset.clone(), records, batch, normalization.clone()).workers(data.workers)
    };
    let whole = |set: Arc<Dataset>| loader(&set, all(&set));
    let sha256 = sha256([Some(&*train), validation.as_deref(), test.as_deref()]);
    let (evaluation, evaluation_split, test) = match (validation, held_out, test) {
        (Some(validation), _, test) => (whole(validation), "validation", test.map(whole)),
        (None, Some(held_out), test) => (loader(&train, held_out), "validation", test.map(whole)),
        (None, None, Some(test)) => (whole(test), "test", None),
        (None, None, None) => return Err(nothing_chooses(&data.root)),
    };
    Ok(Sources {
        model,
        loss: experiment.loss.on(&class_images),
        class_images,
        train: loader(&train, records)
            .shuffled(experiment.train.seed)
            .augmented(data.augmentation.clone())
            .drop_last(experiment.train.drop_last),
        evaluation,
        evaluation_split,
        test,
        name: train.name.clone(),
        sha256,
        notes,
        shape: train.shape,
        class_names: train.class_names.clone(),
        normalization,
    })
}

/// The parts of a set, which all have the classes of the training part.
struct Parts {
    train: Arc<Dataset>,
    validation: Option<Arc<Dataset>>,
    test: Option<Arc<Dataset>>,
    notes: Vec<String>,
}

impl Parts {
    fn open(experiment: &Experiment) -> Result<Self, TrainError> {
        let data = &experiment.data;
        let found = shufflenet_data::parts(data.format, &data.root)?;
        let has = |split: Split| found.contains(&split);
        if has(Split::Validation) && data.validation > 0.0 {
            return Err(TrainError::Value {
                key: "data.validation".into(),
                found: data.validation.to_string(),
                accepted: format!(
                    "0, because {} has a validation part of its own",
                    data.root.display()
                ),
            });
        }
        let (fraction, has_parts) = (data.options.test_fraction, !found.is_empty());
        if fraction > 0.0 && has_parts {
            let parts: Vec<String> = found.iter().map(Split::to_string).collect();
            return Err(TrainError::Value {
                key: "data.options.test_fraction".into(),
                found: fraction.to_string(),
                accepted: format!(
                    "0, because {} has parts of its own: {}",
                    data.root.display(),
                    parts.join(", ")
                ),
            });
        }
        // Without a division, the fraction `test_fraction` is the test part. If it is not set, a held-out part is enough to
        // choose the best epoch.
        let undivided = found.is_empty();
        let whole = undivided && data.options.test_fraction == 0.0 && data.validation > 0.0;
        let has_test = has(Split::Test) || (undivided && !whole);
        if !undivided && !has(Split::Validation) && !has_test && data.validation == 0.0 {
            return Err(nothing_chooses(&data.root));
        }
        let mut notes = Vec::new();
        let mut open = |split: Split, classes: Option<&[String]>| {
            let mut set = part(experiment, &data.root, split)?;
            if !set.passed_over.is_empty() {
                notes.push(format!(
                    "note       {}: {}",
                    part_name(split),
                    set.passed_over
                ));
            }
            if let Some(classes) = classes {
                let refuse = UnknownClasses::Refuse;
                (set, _) = set.with_classes(classes, "the training part", refuse)?;
            }
            notes.extend(check(experiment, &mut set)?);
            Ok::<_, TrainError>(Arc::new(set))
        };
        let train = open(if whole { Split::Whole } else { Split::Train }, None)?;
        let mut other = |split: Split| open(split, Some(&train.class_names));
        let validation = has(Split::Validation)
            .then(|| other(Split::Validation))
            .transpose()?;
        let test = has_test.then(|| other(Split::Test)).transpose()?;
        Ok(Self {
            train,
            validation,
            test,
            notes,
        })
    }
}

fn part_name(split: Split) -> String {
    match split {
        Split::Whole => "the set".into(),
        split => format!("the {split} part"),
    }
}

fn nothing_chooses(root: &Path) -> TrainError {
    TrainError::Value {
        key: "data.validation".into(),
        found: "0".into(),
        accepted: format!(
            "a fraction of the training part to choose the best epoch by, because {} has no validation or test part",
            root.display()
        ),
    }
}

/// The parts of the data in the order train, validation, test: those that its publisher made, those that
/// `data.options.test_fraction` makes, or the whole set.
///
/// # Errors
/// Errors of the data.
pub fn splits(experiment: &Experiment) -> Result<Vec<Split>, TrainError> {
    let data = &experiment.data;
    let published = shufflenet_data::parts(data.format, &data.root)?;
    Ok(match (published.is_empty(), data.options.test_fraction) {
        (false, _) => published,
        (true, 0.0) => vec![Split::Whole],
        (true, _) => vec![Split::Train, Split::Test],
    })
}

/// The part that has the training images, and those that `data.validation` holds out.
///
/// # Errors
/// Errors of the data.
pub fn training_split(experiment: &Experiment) -> Result<Split, TrainError> {
    let splits = splits(experiment)?;
    Ok(match splits.contains(&Split::Whole) {
        true => Split::Whole,
        false => Split::Train,
    })
}

/// One part of the data of `experiment`, as its publisher divided it, at `root`.
///
/// # Errors
/// Errors of the data.
pub fn part(experiment: &Experiment, root: &Path, split: Split) -> Result<Dataset, TrainError> {
    let options = Options {
        channels: match experiment.model.input_channels {
            Some(channels) => channels,
            None => experiment.data.options.channels,
        },
        ..experiment.data.options.clone()
    };
    let dataset = shufflenet_data::open(experiment.data.format, root, split, &options)?;
    Ok(dataset)
}

/// SHA-256 of the bytes that identify the content of the parts.
pub(crate) fn sha256<'a>(sets: impl IntoIterator<Item = Option<&'a Dataset>>) -> String {
    let mut digest = Sha256::new();
    for set in sets.into_iter().flatten() {
        set.identify(|bytes| digest.update(bytes));
    }
    hex(&digest.finalize())
}

/// The training records of the training set, and the held-out records, if any.
pub(super) fn division(
    experiment: &Experiment,
    dataset: &Dataset,
) -> Result<(Vec<u32>, Option<Vec<u32>>), TrainError> {
    divided(experiment, dataset.labels(), &dataset.class_names)
}

/// The records for training and those held out of a training set with these labels of classes with these names.
pub(crate) fn divided(
    experiment: &Experiment,
    labels: &[u16],
    names: &[String],
) -> Result<(Vec<u32>, Option<Vec<u32>>), TrainError> {
    let fraction = experiment.data.validation;
    let (mut train, validation) = match fraction {
        0.0 => ((0..labels.len() as u32).collect(), None),
        _ => {
            let seed = experiment.validation_seed();
            let parts = holdout("data.validation", labels, names, fraction, seed)?;
            (parts.train, Some(parts.validation))
        }
    };
    train.truncate(experiment.data.limit.unwrap_or(usize::MAX));
    Ok((train, validation))
}

/// Every record of a set.
pub(super) fn all(dataset: &Dataset) -> Vec<u32> {
    (0..dataset.len() as u32).collect()
}

/// Refuses data whose number of classes or channels is not the network's.
pub(super) fn check_fit(model: &ModelConfig, dataset: &Dataset) -> Result<(), TrainError> {
    let fits = |key: &str, found: usize, accepted: usize| match found == accepted {
        true => Ok(()),
        false => Err(TrainError::Value {
            key: key.into(),
            found: found.to_string(),
            accepted: format!("{accepted}, what {} has", dataset.name),
        }),
    };
    fits("model.classes", model.classes(), dataset.classes())?;
    fits(
        "model.input_channels",
        model.input_channels(),
        dataset.shape.channels,
    )
}
