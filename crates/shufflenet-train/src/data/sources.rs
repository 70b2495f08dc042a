//! Which records train, which choose the best epoch, which test.
//!
//! `data.validation = fraction` holds out a stratified, seeded part of the training set and `best`
//! means best on that part. The test set is then read once, at the end. Without a held-out part the test set chooses,
//! and every report says so.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use shufflenet_data::{Dataset, ImageShape, Loader, Normalization, Options, Split, holdout};
use shufflenet_model::ModelConfig;

use crate::checkpoint::description::Description;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::files::hex;

/// The data of a training run.
pub struct Sources {
    /// The network, its classes and channels filled in from the data where the experiment leaves them out.
    pub model: ModelConfig,
    /// Records trained on: shuffled, augmented.
    pub train: Loader,
    /// Records that choose the best epoch: all of them, in order.
    pub evaluation: Loader,
    /// The test set, where it is not what `evaluation` reads.
    pub test: Option<Loader>,
    /// Name of the set.
    pub name: String,
    /// SHA-256 of all pixels and labels ([`Dataset::identify`]), of the training set and then of the test
    /// set. A resumed run must find the same, wherever the files are.
    pub sha256: String,
    /// A line for each image that was left out because it cannot be decoded.
    pub skipped: Vec<String>,
    /// Size of an image.
    pub shape: ImageShape,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// How pixels are scaled.
    pub normalization: Normalization,
}

impl Sources {
    /// Each batch shared between `ranks` ranks, this being number `rank`.
    pub fn shared(self, rank: usize, ranks: usize) -> Self {
        Self {
            train: self.train.shared(rank, ranks),
            evaluation: self.evaluation.shared(rank, ranks),
            test: self.test.map(|test| test.shared(rank, ranks)),
            ..self
        }
    }

    /// `validation` where a part is held out, else `test`.
    pub fn evaluation_split(&self) -> &'static str {
        match self.test {
            Some(_) => "validation",
            None => "test",
        }
    }
}

/// Opens the data of `experiment` and checks that the network fits it.
///
/// # Errors
/// What the data refuses; [`TrainError::Value`] where the network's channels or classes are not the
/// data's.
pub fn open(experiment: &Experiment) -> Result<Sources, TrainError> {
    let data = &experiment.data;
    let train = Arc::new(part(experiment, &data.root, Split::Train)?);
    let test = Arc::new(part(experiment, &data.root, Split::Test)?);
    let mut model = experiment.model.clone();
    model.classes.get_or_insert(train.classes());
    model.input_channels.get_or_insert(train.shape.channels);
    check_fit(&model, &train)?;
    check_fit(&model, &test)?;
    experiment.loss.check(model.classes())?;

    let (records, validation) = parts(experiment, &train)?;
    let normalization = match &data.normalization {
        Some(given) => given.clone(),
        None => Normalization::of(&train, &records)?,
    };
    normalization.check(train.shape.channels)?;
    data.augmentation.check(&train)?;

    let batch = experiment.train.batch_size;
    let loader = |dataset: &Arc<Dataset>, records: Vec<u32>| {
        Loader::new(dataset.clone(), records, batch, normalization.clone()).workers(data.workers)
    };
    let whole_test = || loader(&test, all(&test));
    let (evaluation, test_loader) = match validation {
        Some(held_out) => (loader(&train, held_out), Some(whole_test())),
        None => (whole_test(), None),
    };
    Ok(Sources {
        model,
        train: loader(&train, records)
            .shuffled(experiment.train.seed)
            .augmented(data.augmentation.clone())
            .drop_last(experiment.train.drop_last),
        evaluation,
        test: test_loader,
        name: train.name.clone(),
        sha256: sha256([&*train, &*test]),
        skipped: [train.skipped.as_slice(), &test.skipped].concat(),
        shape: train.shape,
        class_names: train.class_names.clone(),
        normalization,
    })
}

/// One part of the data of `experiment`, as its publisher divided it, at `root`.
///
/// # Errors
/// What the data refuses.
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

/// A part of the data for evaluating a checkpoint: `test`, `validation` or `train`, from `root` or
/// where the checkpoint's run had it.
///
/// # Errors
/// What the data refuses; [`TrainError::Value`]: an unknown split, a validation part where none was
/// held out, data that the network does not fit.
pub fn split(
    description: &Description,
    root: Option<&Path>,
    split: &str,
    batch_size: usize,
) -> Result<Loader, TrainError> {
    let experiment = &description.experiment;
    let refuse = |accepted: &str| TrainError::Value {
        key: "--split".into(),
        found: split.into(),
        accepted: accepted.into(),
    };
    let published = match split {
        "test" => Split::Test,
        "train" | "validation" => Split::Train,
        _ => return Err(refuse("test, validation, train")),
    };
    let data = &experiment.data;
    let root = root.unwrap_or(&data.root);
    let dataset = part(experiment, root, published)?;
    check_fit(&experiment.model, &dataset)?;
    let found = dataset.shape;
    if [found.channels, found.height, found.width] != description.input {
        let [channels, height, width] = description.input;
        return Err(TrainError::Value {
            key: "the size of the images".into(),
            found: found.to_string(),
            accepted: format!("{channels}x{height}x{width}, what the checkpoint was trained on"),
        });
    }
    let records = match split {
        "test" => all(&dataset),
        "train" => parts(experiment, &dataset)?.0,
        _ => parts(experiment, &dataset)?
            .1
            .ok_or_else(|| refuse("test, train (this run held no validation part out)"))?,
    };
    let normalization = description.normalization.clone();
    let loader = Loader::new(Arc::new(dataset), records, batch_size, normalization);
    Ok(loader.workers(data.workers))
}

fn sha256(sets: [&Dataset; 2]) -> String {
    let mut digest = Sha256::new();
    for set in sets {
        set.identify(|bytes| digest.update(bytes));
    }
    hex(&digest.finalize())
}

/// The training set's records for training, and those held out, if any.
fn parts(
    experiment: &Experiment,
    dataset: &Dataset,
) -> Result<(Vec<u32>, Option<Vec<u32>>), TrainError> {
    let fraction = experiment.data.validation;
    let (mut train, validation) = match fraction {
        0.0 => (all(dataset), None),
        _ => {
            let (labels, classes) = (dataset.labels(), dataset.classes());
            let parts = holdout(
                "data.validation",
                labels,
                classes,
                fraction,
                experiment.train.seed,
            )?;
            (parts.train, Some(parts.validation))
        }
    };
    train.truncate(experiment.data.limit.unwrap_or(usize::MAX));
    Ok((train, validation))
}

fn all(dataset: &Dataset) -> Vec<u32> {
    (0..dataset.len() as u32).collect()
}

fn check_fit(model: &ModelConfig, dataset: &Dataset) -> Result<(), TrainError> {
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
