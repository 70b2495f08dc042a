//! `shufflenet data`: inspects the data of an experiment before training.

use std::fmt;

use serde::Serialize;
use shufflenet_data::mosaic::mosaic;
use shufflenet_data::survey::{Duplicate, Duplicates, Survey, survey};
use shufflenet_data::{
    Check, Checked, DataError, Dataset, Loader, Normalization, OnBadImage, Split, UnknownClasses,
};

use crate::data::check::check as check_images;
use crate::data::sources::{division, part, splits, training_split};
use crate::error::TrainError;
use crate::experiment::Experiment;

/// Counts and measures of the parts of a set.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// The training, the validation and the test part, as far as the data has them.
    pub parts: Vec<Survey>,
    /// Images of a later part that an earlier part has, too.
    pub duplicates_across: Vec<Duplicate>,
    /// Lines on files that were skipped.
    pub notes: Vec<String>,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| write!(f, "{part}"))?;
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "{note}"))?;
        if self.parts.len() < 2 {
            return Ok(());
        }
        let across = Duplicates(&self.duplicates_across);
        write!(
            f,
            "images of a later part that an earlier part has too: {across}"
        )
    }
}

/// `data fetch` with a bar on a terminal; see [`shufflenet_data::fetch::fetch`].
///
/// # Errors
/// The errors of [`shufflenet_data::fetch::fetch`].
#[cfg(feature = "fetch")]
pub fn fetch(
    set: &str,
    into: &std::path::Path,
    from: Option<&std::path::Path>,
) -> Result<(std::path::PathBuf, bool), TrainError> {
    let fetch = |progress: &mut dyn FnMut(u64, Option<u64>)| {
        Ok(shufflenet_data::fetch::fetch(set, into, from, progress)?)
    };
    with_bar(fetch)
}

/// Calls `fetch` with a function that shows its progress, bytes so far and the total, as a bar on a terminal.
///
/// # Errors
/// The errors of `fetch`.
#[cfg(feature = "fetch")]
pub fn with_bar<T>(
    fetch: impl FnOnce(&mut dyn FnMut(u64, Option<u64>)) -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    use indicatif::{ProgressBar, ProgressStyle};

    let template = "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::no_length().with_style(style);
    let fetched = fetch(&mut |bytes, total| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(bytes);
    });
    bar.finish_and_clear();
    fetched
}

/// A part of the data with its name.
type NamedPart = (String, Dataset);

/// The use of bad images if `on_bad_image` is `skip`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bad {
    LeftOut,
    Kept,
}

/// A part of the data, and notes on skipped files.
fn open(
    experiment: &Experiment,
    split: Split,
    bad: Bad,
) -> Result<(Dataset, Vec<String>), TrainError> {
    let data = &experiment.data;
    let mut set = part(experiment, &data.root, split)?;
    let mut notes = Vec::new();
    if !set.passed_over.is_empty() {
        notes.push(format!("{split}: {}", set.passed_over));
    }
    if data.options.on_bad_image == OnBadImage::Skip && bad == Bad::LeftOut {
        notes.extend(check_images(experiment, &mut set)?);
    }
    Ok((set, notes))
}

/// The parts of the data with their names, and notes on skipped files. All parts have the classes of the first.
fn parts(experiment: &Experiment, bad: Bad) -> Result<(Vec<NamedPart>, Vec<String>), TrainError> {
    let (mut parts, mut notes): (Vec<NamedPart>, _) = (Vec::new(), Vec::new());
    for split in splits(experiment)? {
        let (mut set, skipped) = open(experiment, split, bad)?;
        notes.extend(skipped);
        if let Some((first, earlier)) = parts.first() {
            let whose = format!("the part {first}");
            let names = &earlier.class_names;
            (set, _) = set.with_classes(names, &whose, UnknownClasses::Refuse)?;
        }
        parts.push((split.to_string(), set));
    }
    Ok((parts, notes))
}

/// Counts and measures the parts of the data.
///
/// # Errors
/// Errors of the data.
pub fn stats(experiment: &Experiment) -> Result<Stats, TrainError> {
    let (parts, notes) = parts(experiment, Bad::LeftOut)?;
    let named: Vec<(&str, &Dataset)> = parts.iter().map(|(name, set)| (&name[..], set)).collect();
    let (parts, duplicates_across) = survey(&named)?;
    Ok(Stats {
        parts,
        notes,
        duplicates_across,
    })
}

/// A part of the data whose images were all decoded.
pub struct Verified {
    /// Name of the part.
    pub split: String,
    /// Number of images.
    pub count: usize,
    /// A line for each image that cannot be decoded.
    pub bad: Vec<String>,
}

/// Reads and decodes everything, whatever `on_bad_image` says. Also returns notes on skipped files.
///
/// # Errors
/// Errors of the data as a whole.
pub fn verify(experiment: &Experiment) -> Result<(Vec<Verified>, Vec<String>), TrainError> {
    let mut lenient = experiment.clone();
    // A missing or empty file is one of the bad images, and does not stop the check.
    lenient.data.options.on_bad_image = OnBadImage::Skip;
    let (parts, notes) = parts(&lenient, Bad::Kept)?;
    let verified = parts.into_iter().map(|(split, set)| {
        let bad = set
            .check(Check::Decode, &mut Checked::default(), &|_| ())
            .bad;
        Verified {
            split,
            count: set.len(),
            bad: bad.iter().map(|bad| bad.error.to_string()).collect(),
        }
    });
    Ok((verified.collect(), notes))
}

/// A PNG of the first `count` images of the first training epoch, augmented as in training, and their number.
///
/// # Errors
/// Errors of the data.
pub fn preview(experiment: &Experiment, count: usize) -> Result<(Vec<u8>, usize), TrainError> {
    let (dataset, _) = open(experiment, training_split(experiment)?, Bad::LeftOut)?;
    let augmentation = &experiment.data.augmentation;
    augmentation.check(&dataset)?;
    let (records, _) = division(experiment, &dataset)?;
    let names = dataset.class_names.clone();
    let (plain, size) = (
        Normalization::identity(dataset.shape.channels),
        experiment.train.batch_size,
    );
    let loader = Loader::new(dataset.into(), records, size, plain)
        .shuffled(experiment.train.seed)
        .augmented(augmentation.clone());
    let mut batches = loader.part_of_epoch(1, 0..count.div_ceil(size).min(loader.batches()));
    let Some(batch) = batches.next() else {
        return Err(DataError::value("the number of training images", "0", "1 or more").into());
    };
    let mut batch = batch?;
    for more in batches {
        let more = more?;
        batch.pixels.extend(more.pixels);
        batch.labels.extend(more.labels);
    }
    batch.pixels.truncate(count * batch.shape.values());
    batch.labels.truncate(count);
    let columns = (batch.len() as f64).sqrt().ceil() as usize;
    Ok((mosaic(&batch, &names, columns)?, batch.len()))
}
