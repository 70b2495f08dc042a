//! Opens data for a trained network: the run's own data, or other data.
//!
//! Labels are matched by the names of the classes. A network without names (an import) takes the classes in the data's
//! order, and a note says so.

mod classes;
pub(crate) mod seen;
pub(crate) mod split;

use std::path::Path;
use std::sync::Arc;

use shufflenet_data::{ClassOrder, Dataset, Format, Loader, OnBadImage, Split, UnknownClasses};

use crate::checkpoint::description::Description;
use crate::data::check::check;
use crate::data::sources::{all, check_fit, division, part, sha256, splits};
use crate::error::TrainError;
use crate::experiment::Experiment;

use split::Records;

/// The data to open for a checkpoint, and how its classes are matched.
#[derive(Clone, Debug, Default)]
pub struct DataRequest<'a> {
    /// Where the data is. `None`: where the run had it.
    pub root: Option<&'a Path>,
    /// `train`, `validation`, `test` or `all`. `None`: the test part, else the validation part, else all.
    pub split: Option<&'a str>,
    /// What to do about classes that the network does not know.
    pub unknown: UnknownClasses,
    /// The order of the classes of a network without names. `None`: the data's order, which is refused if the two
    /// orders differ.
    pub order: Option<ClassOrder>,
}

/// A part of the data, ready for a checkpoint.
pub struct EvaluationData {
    /// The records, in order.
    pub loader: Loader,
    /// The part: `train`, `validation`, `test` or `all`.
    pub split: String,
    /// Whether this is the run's own data.
    pub is_own: bool,
    /// Whether this part of the data chose the checkpoint.
    pub chose: bool,
    /// Whether this part is random, of data that has changed since the run, so that it may have images that the
    /// run trained on.
    pub drawn_anew: bool,
    /// Number of images of classes that the network does not know.
    pub left_out: usize,
    /// Lines on assumptions, and on files that were skipped or left out.
    pub notes: Vec<String>,
}

/// Opens data for the checkpoint that `description` describes.
///
/// # Errors
/// Errors of the data; [`TrainError::Value`]: a part that the data lacks, classes or images that the network does not
/// fit.
pub fn open(
    description: &Description,
    request: &DataRequest,
    batch_size: usize,
) -> Result<EvaluationData, TrainError> {
    let place = Place::find(description, request)?;
    let (experiment, split) = (&place.experiment, place.split);
    let set = part(experiment, &experiment.data.root, place.published)?;
    let mut notes = Vec::new();
    if !set.passed_over.is_empty() {
        notes.push(set.passed_over.to_string());
    }
    let (mut set, left_out) = classes::match_names(set, description, request, &mut notes)?;
    check_fit(&experiment.model, &set)?;
    check_size(&set, description)?;
    if experiment.data.options.on_bad_image == OnBadImage::Skip {
        let lines = check(experiment, &mut set)?;
        notes.extend(
            lines
                .iter()
                .map(|line| line.trim_start_matches("note").trim().to_string()),
        );
    }
    // Of the classes and images that a run takes, as the run took it.
    let identity = sha256([Some(&set)]);
    let has_changed = place.has_changed(description, &identity);
    let drawn_anew = has_changed && place.is_drawn();
    if drawn_anew {
        notes.push(format!(
            "the data has changed since the run: the {split} part is drawn anew and may have images that the run trained on"
        ));
    } else if has_changed {
        notes.push("the data has changed since the run".into());
    }
    let chose = match &description.chosen_on {
        Some(chosen) => {
            chosen.split == split && !drawn_anew && (chosen.sha256 == identity || has_changed)
        }
        // Checkpoints of earlier versions do not say.
        None => request.root.is_none() && split::by_configuration(experiment, split),
    };
    let records = match place.records {
        Records::All => all(&set),
        Records::Training => division(experiment, &set)?.0,
        Records::HeldOut => division(experiment, &set)?.1.unwrap_or_default(),
    };
    let normalization = description.normalization.clone();
    let loader = Loader::new(Arc::new(set), records, batch_size, normalization);
    Ok(EvaluationData {
        loader: loader.workers(experiment.data.workers),
        split: split.into(),
        is_own: place.is_own,
        chose,
        drawn_anew,
        left_out,
        notes,
    })
}

/// Where the requested part of the data is.
struct Place {
    /// The experiment of the checkpoint, on the data.
    experiment: Experiment,
    /// The parts that the data's publisher divided it into.
    parts: Vec<Split>,
    /// Whether this is the run's own data.
    is_own: bool,
    /// Name of the requested part.
    split: &'static str,
    /// The publisher's part that has the records.
    published: Split,
    /// The records of `published` that belong to the requested part.
    records: Records,
}

impl Place {
    /// Finds the part that `request` asks for.
    fn find(description: &Description, request: &DataRequest) -> Result<Self, TrainError> {
        let mut experiment = experiment_on(description, request)?;
        let parts = shufflenet_data::parts(experiment.data.format, &experiment.data.root)?;
        if parts.contains(&Split::Validation) {
            experiment.data.validation = 0.0;
        }
        let at_its_place = is_same_place(&experiment.data.root, &description.experiment.data.root);
        // At another place the content matters only if the run divided the data itself.
        let is_divided = experiment.data.validation > 0.0 || experiment.data.limit.is_some();
        let content_matters = parts.is_empty() || (is_divided && request.split.is_some());
        let is_own = at_its_place || (content_matters && is_same_data(&experiment, description));
        if !is_own {
            // The run's division and its limit do not apply to other data, and other data may have bad images.
            experiment.data.validation = 0.0;
            experiment.data.limit = None;
            experiment.data.options.test_fraction = 0.0;
            experiment.data.options.on_bad_image = OnBadImage::Skip;
        }
        let split = split::choose(&experiment, &parts, is_own, request.split)?;
        let (published, records) = split::place(&experiment, &parts, is_own, split)?;
        Ok(Self {
            experiment,
            parts,
            is_own,
            split,
            published,
            records,
        })
    }

    /// Whether the run drew the part at random.
    fn is_drawn(&self) -> bool {
        let is_test = self.parts.is_empty() && self.published == Split::Test;
        self.records == Records::HeldOut || is_test
    }

    /// Whether the run's own data has changed since the run. `identity` is the SHA-256 of the part.
    fn has_changed(&self, description: &Description, identity: &str) -> bool {
        match &description.chosen_on {
            Some(chosen) if chosen.split == self.split => self.is_own && chosen.sha256 != identity,
            // Another part chose, and the checkpoint has the SHA-256 of all parts together.
            Some(_) if self.is_own && self.is_drawn() => {
                !is_same_data(&self.experiment, description)
            }
            // Checkpoints of earlier versions do not say.
            _ => false,
        }
    }
}

/// The experiment of the checkpoint, on the data of the request and with images of the network's size. Refuses the run's
/// own data if it does not exist any more.
fn experiment_on(
    description: &Description,
    request: &DataRequest,
) -> Result<Experiment, TrainError> {
    let mut experiment = description.experiment.clone();
    if let Some(root) = request.root {
        experiment.data.format = Format::of(root).unwrap_or(experiment.data.format);
        experiment.data.root = root.into();
    }
    let own = &description.experiment.data.root;
    let is_made = experiment.data.format.name() == "synthetic";
    let found = match request.root {
        Some(root) if !is_made && !root.exists() => {
            Some(format!("{}, which does not exist", root.display()))
        }
        None if description.has_no_data() => {
            Some("not given, and an import has no data of its own".into())
        }
        None if !is_made && !own.exists() => Some(format!(
            "not given, and {}, where the run had its data, does not exist",
            own.display()
        )),
        _ => None,
    };
    if let Some(found) = found {
        return Err(TrainError::Value {
            key: "--data".into(),
            found,
            accepted: "a folder of classes, a list of images, an archive".into(),
        });
    }
    fit_size(&mut experiment, description.input);
    Ok(experiment)
}

/// Whether two paths lead to the same place.
pub(crate) fn is_same_place(one: &Path, other: &Path) -> bool {
    let resolved = [one, other].map(Path::canonicalize);
    one == other || matches!(resolved, [Ok(one), Ok(other)] if one == other)
}

/// Whether the data is the run's data, at any path. Then the run's division can be repeated.
fn is_same_data(experiment: &Experiment, description: &Description) -> bool {
    let open = |split: Split| {
        let set = part(experiment, &experiment.data.root, split)?;
        let refuse = UnknownClasses::Refuse;
        let (mut set, _) = set.with_classes(&description.class_names, "the run", refuse)?;
        if experiment.data.options.on_bad_image == OnBadImage::Skip {
            check(experiment, &mut set)?;
        }
        Ok::<_, TrainError>(set)
    };
    let open_all = |splits: Vec<Split>| splits.into_iter().map(open).collect();
    let sets: Result<Vec<Dataset>, TrainError> = splits(experiment).and_then(open_all);
    sets.is_ok_and(|sets| sha256(sets.iter().map(Some)) == description.data_sha256)
}

/// Sets the size of encoded images to the size that the network was trained on.
fn fit_size(experiment: &mut Experiment, [_, height, _]: [usize; 3]) {
    let options = &mut experiment.data.options;
    if options.size as usize != height {
        options.size = height as u32;
        options.resize = Some(height as u32);
    }
}

/// Refuses images of another size than the network's.
fn check_size(set: &Dataset, description: &Description) -> Result<(), TrainError> {
    let found = set.shape;
    if [found.channels, found.height, found.width] == description.input {
        return Ok(());
    }
    let [channels, height, width] = description.input;
    let origin = match description.has_no_data() {
        true => "what the network was imported with; --size of import sets another",
        false => "what the checkpoint was trained on",
    };
    Err(TrainError::Value {
        key: "the size of the images".into(),
        found: found.to_string(),
        accepted: format!("{channels}x{height}x{width}, {origin}"),
    })
}
