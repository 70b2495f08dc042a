//! `shufflenet data`: looks at the set of an experiment before training on it.

use std::fmt;

use serde::Serialize;
use shufflenet_data::mosaic::mosaic;
use shufflenet_data::survey::{Duplicate, Duplicates, Survey, bad_images, survey};
use shufflenet_data::{DataError, Loader, Normalization, OnBadImage, Split};

use crate::data::sources::part;
use crate::error::TrainError;
use crate::experiment::Experiment;

/// Counts and measures of both parts of a set.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// The training part, then the test part.
    pub parts: Vec<Survey>,
    /// Test images that are training images, too.
    pub duplicates_across: Vec<Duplicate>,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| write!(f, "{part}"))?;
        let across = Duplicates(&self.duplicates_across);
        write!(f, "test images that are training images too: {across}")
    }
}

/// `data fetch` with a bar on a terminal; see [`shufflenet_data::fetch::fetch`].
///
/// # Errors
/// Those of [`shufflenet_data::fetch::fetch`].
#[cfg(feature = "fetch")]
pub fn fetch(
    set: &str,
    into: &std::path::Path,
    from: Option<&std::path::Path>,
) -> Result<(std::path::PathBuf, bool), TrainError> {
    use indicatif::{ProgressBar, ProgressStyle};

    let template = "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::no_length().with_style(style);
    let fetched = shufflenet_data::fetch::fetch(set, into, from, &mut |bytes, total| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(bytes);
    });
    bar.finish_and_clear();
    Ok(fetched?)
}

/// Counts and measures both parts of the data.
///
/// # Errors
/// What the data refuses.
pub fn stats(experiment: &Experiment) -> Result<Stats, TrainError> {
    let root = &experiment.data.root;
    let train = part(experiment, root, Split::Train)?;
    let test = part(experiment, root, Split::Test)?;
    let (parts, duplicates_across) = survey(&[("train", &train), ("test", &test)])?;
    Ok(Stats {
        parts,
        duplicates_across,
    })
}

/// Reads and decodes everything, whatever `on_bad_image` says: for each part its name, its number of
/// images, and a line for each bad one.
///
/// # Errors
/// What the data refuses as a whole.
pub fn verify(experiment: &Experiment) -> Result<Vec<(Split, usize, Vec<String>)>, TrainError> {
    let mut experiment = experiment.clone();
    experiment.data.options.on_bad_image = OnBadImage::Error;
    let mut parts = Vec::new();
    for split in [Split::Train, Split::Test] {
        let dataset = part(&experiment, &experiment.data.root, split)?;
        parts.push((split, dataset.len(), bad_images(&dataset)));
    }
    Ok(parts)
}

/// A PNG of the first `count` images of the first training epoch, augmented as in training, and their number.
///
/// # Errors
/// What the data refuses.
pub fn preview(experiment: &Experiment, count: usize) -> Result<(Vec<u8>, usize), TrainError> {
    let data = &experiment.data;
    let dataset = part(experiment, &data.root, Split::Train)?;
    data.augmentation.check(&dataset)?;
    let names = dataset.class_names.clone();
    let all = (0..dataset.len() as u32).collect();
    let plain = Normalization::identity(dataset.shape.channels);
    let loader = Loader::new(dataset.into(), all, count.max(1), plain)
        .shuffled(experiment.train.seed)
        .augmented(data.augmentation.clone());
    let Some(batch) = loader.part_of_epoch(1, 0..1).next() else {
        // Not reachable: a set has at least one record.
        return Err(DataError::value("the number of images", "0", "1 or more").into());
    };
    let batch = batch?;
    let columns = (batch.len() as f64).sqrt().ceil() as usize;
    Ok((mosaic(&batch, &names, columns)?, batch.len()))
}
