//! `train --data FOLDER`: an experiment for data that has no configuration.
//!
//! The format, the parts, the classes and the size of the images are read from the data (`recognise.rs`). Everything
//! else follows from these by the rules of `recipe.rs`. With weights to start from, their network, image size and
//! normalisation are used (`weights.rs`). Every choice is a key of the experiment, so `--set` can override it and
//! `config.toml` repeats it.

mod describe;
mod recipe;
mod recognise;
mod weights;

use std::path::Path;

use shufflenet_data::{
    Appearance, Dataset, Format, OnBadImage, Options, Split, expand_home, parts,
};

use crate::data::trained_on::is_same_place;
use crate::error::TrainError;
use crate::experiment::{Experiment, settings};
use recognise::{check_depth, recognise};
use weights::Start;

/// An experiment that was chosen for data.
pub struct Proposal {
    /// The experiment.
    pub experiment: Experiment,
    /// Lines on what was chosen and why.
    pub lines: Vec<String>,
}

/// The facts that the choices follow from.
struct Facts<'a> {
    root: &'a Path,
    format: Format,
    parts: Vec<Split>,
    /// The images that are divided into those trained on and those held out.
    set: Dataset,
    appearance: Appearance,
    /// Number of images of each class.
    counts: Vec<usize>,
    start: Option<Start>,
}

/// Chooses an experiment for the data at `data`, a folder, list or archive, and applies `overrides`. `from` names
/// weights to start from: `x1.0` for those in `weights/x1.0`, a run or a checkpoint.
///
/// # Errors
/// [`TrainError::Value`] if `data` is not a set of images or `from` not a network; errors of the data; those of
/// [`settings::load`] for `overrides`.
pub fn propose(
    data: &Path,
    from: Option<&str>,
    overrides: &[String],
) -> Result<Proposal, TrainError> {
    check_root(overrides)?;
    let root = expand_home(data);
    let start = from.map(Start::of).transpose()?;
    let format = format(&root, overrides)?;
    let parts = parts(format, &root)?;
    let split = match parts.is_empty() {
        true => Split::Whole,
        false => Split::Train,
    };
    let options = Options {
        on_bad_image: OnBadImage::Skip,
        ..Options::default()
    };
    let set = shufflenet_data::open(format, &root, split, &options)?;
    let is_given = settings::value_of(overrides, FORMAT).is_some();
    if !is_given && format.name() == "folder" {
        check_depth(&root, &set, split)?;
    }
    let counts = set.counts();
    let facts = Facts {
        root: &root,
        format,
        parts,
        appearance: set.appearance()?,
        set,
        counts,
        start,
    };
    let chosen = recipe::experiment(&facts, overrides)?;
    let experiment = settings::overridden(&chosen, overrides)?;
    let lines = describe::describe(&facts, &experiment, overrides);
    Ok(Proposal { experiment, lines })
}

/// An experiment that says only where the data at `data` is, for a look at the data.
///
/// # Errors
/// The errors of [`propose`] that concern the place and the format.
pub fn plain(data: &Path, overrides: &[String]) -> Result<Experiment, TrainError> {
    check_root(overrides)?;
    let root = expand_home(data);
    let format = format(&root, overrides)?;
    let mut all = vec![
        format!("{FORMAT}={}", format.name()),
        "data.root=.".into(),
        "data.options.on_bad_image=skip".into(),
    ];
    all.extend_from_slice(overrides);
    let mut experiment = settings::load_or_assemble(None, &all)?;
    experiment.data.root = root;
    Ok(experiment)
}

/// Refuses `--set data.root` beside `--data`.
///
/// # Errors
/// [`TrainError::Value`].
pub fn check_root(overrides: &[String]) -> Result<(), TrainError> {
    match settings::value_of(overrides, "data.root") {
        None => Ok(()),
        Some(found) => Err(TrainError::Value {
            key: "data.root".into(),
            found,
            accepted: "unset, because --data says where the data is".into(),
        }),
    }
}

/// The key of the format.
const FORMAT: &str = "data.format";

/// The format that `overrides` give, or that of the data at `root`.
fn format(root: &Path, overrides: &[String]) -> Result<Format, TrainError> {
    match settings::value_of(overrides, FORMAT) {
        Some(name) => Ok(Format::named(&name)?),
        None => recognise(root),
    }
}

/// Refuses `from`, the weights of `--from`, for the run in the folder `run` of `experiment` that started from others.
///
/// # Errors
/// [`TrainError::Changed`].
pub fn check_start(
    experiment: &Experiment,
    run: &Path,
    from: Option<&str>,
) -> Result<(), TrainError> {
    let Some(from) = from else { return Ok(()) };
    let (old, new) = (&experiment.fine_tune.from, weights::place(from));
    match old {
        Some(old) if is_same_place(old, &new) => Ok(()),
        old => Err(TrainError::Changed {
            run: run.into(),
            key: "--from".into(),
            old: old
                .as_ref()
                .map_or("unset".into(), |old| old.display().to_string()),
            new: new.display().to_string(),
        }),
    }
}

/// Name of the run of the experiment that [`propose`] chooses.
pub fn name(data: &Path, overrides: &[String]) -> String {
    match settings::value_of(overrides, "name") {
        Some(name) => name,
        None => recipe::name(&expand_home(data)),
    }
}
