//! The data that a trained network meets later: the run's own, or other data of a person's.
//!
//! Labels are matched by the names of the classes. A network without names (an import) takes the classes in the data's
//! order, which is said.

use std::path::Path;
use std::sync::Arc;

use shufflenet_data::{
    ClassOrder, Dataset, Format, Loader, OnBadImage, Split, UnknownClasses, orders_differ,
};

use crate::checkpoint::description::Description;
use crate::data::check::check;
use crate::data::sources::{all, check_fit, division, part, sha256};
use crate::display::words::counted;
use crate::error::TrainError;
use crate::experiment::Experiment;

/// Which data a checkpoint meets, and how its classes are matched.
#[derive(Clone, Debug, Default)]
pub struct DataRequest<'a> {
    /// Where the data is. `None`: where the run had it.
    pub root: Option<&'a Path>,
    /// `train`, `validation`, `test` or `all`. `None`: the test part, else the validation part, else all.
    pub split: Option<&'a str>,
    /// What to do about classes that the network does not know.
    pub unknown: UnknownClasses,
    /// The order of the classes of a network without names. `None`: the data's, where both orders agree.
    pub order: Option<ClassOrder>,
}

/// A part of the data, ready for a checkpoint.
pub struct Met {
    /// The records, in order.
    pub loader: Loader,
    /// The part: `train`, `validation`, `test` or `all`.
    pub split: String,
    /// Whether this part of the data chose the checkpoint.
    pub chose: bool,
    /// Number of images of classes that the network does not know.
    pub left_out: usize,
    /// Lines on what was assumed, passed over or left out.
    pub notes: Vec<String>,
}

/// Opens data for the checkpoint that `description` describes.
///
/// # Errors
/// What the data refuses; [`TrainError::Value`]: a part that the data lacks, classes or images that the network does not
/// fit.
pub fn open(
    description: &Description,
    request: &DataRequest,
    batch_size: usize,
) -> Result<Met, TrainError> {
    let mut experiment = description.experiment.clone();
    if let Some(root) = request.root {
        experiment.data.format = Format::of(root).unwrap_or(experiment.data.format);
        experiment.data.root = root.into();
    }
    let own = &description.experiment.data.root;
    let is_made = experiment.data.format.name() == "synthetic";
    if request.root.is_none() && !is_made && !own.exists() {
        let found = match description.data_sha256.is_empty() {
            true => "not given, and an import has no data of its own".into(),
            false => format!(
                "not given, and {}, where the run had its data, is not there",
                own.display()
            ),
        };
        return Err(TrainError::Value {
            key: "--data".into(),
            found,
            accepted: "a folder of classes, a list of images, an archive".into(),
        });
    }
    fit_size(&mut experiment, description.input);
    let parts = shufflenet_data::parts(experiment.data.format, &experiment.data.root)?;
    if parts.contains(&Split::Validation) {
        experiment.data.validation = 0.0;
    }
    let is_own = is_same_place(&experiment.data.root, own)
        || (parts.is_empty() && is_same_data(&experiment, description));
    if !is_own && request.split.is_none() {
        // The run's own held-out part and its limit say nothing about other data.
        experiment.data.validation = 0.0;
        experiment.data.limit = None;
    }
    let split = choose_split(&experiment, &parts, is_own, request.split)?;
    let (published, records) = place(&experiment, &parts, split)?;
    let mut set = part(&experiment, &experiment.data.root, published)?;
    let mut notes = Vec::new();
    if !set.passed_over.is_empty() {
        notes.push(set.passed_over.to_string());
    }
    let identity = sha256([Some(&set)]);
    let mut left_out = Vec::new();
    if description.unnamed {
        check_count(&description.class_names, &set)?;
        notes.push(assume_order(&mut set, request.order)?);
    } else {
        if request.order.is_some() {
            notes.push("--class-order is not used: the network has class names".into());
        }
        let names = &description.class_names;
        (set, left_out) = set.with_classes(names, "the network", request.unknown)?;
    }
    for (class, count) in &left_out {
        notes.push(format!(
            "{} of class {class} left out: the network does not know it",
            counted(*count, "image")
        ));
    }
    check_fit(&experiment.model, &set)?;
    check_size(&set, description.input)?;
    if experiment.data.options.on_bad_image == OnBadImage::Skip {
        let lines = check(&experiment, &mut set)?;
        notes.extend(
            lines
                .iter()
                .map(|line| line.trim_start_matches("note").trim().to_string()),
        );
    }
    let records = match records {
        Records::All => all(&set),
        Records::Training => division(&experiment, &set)?.0,
        Records::HeldOut => division(&experiment, &set)?.1.unwrap_or_default(),
    };
    let chose = match &description.chosen_on {
        Some(chosen) if chosen.split == split && chosen.sha256 != identity && is_own => {
            notes.push(
                "the data has changed since the run: images that it trained on may be in this part now, if the part is \
                 drawn by chance"
                    .into(),
            );
            true
        }
        Some(chosen) => chosen.split == split && chosen.sha256 == identity,
        // Checkpoints of earlier versions do not say.
        None => request.root.is_none() && by_configuration(&experiment, split),
    };
    let normalization = description.normalization.clone();
    let loader = Loader::new(Arc::new(set), records, batch_size, normalization);
    Ok(Met {
        loader: loader.workers(experiment.data.workers),
        split: split.into(),
        chose,
        left_out: left_out.iter().map(|(_, count)| count).sum(),
        notes,
    })
}

/// Whether two paths lead to the same place.
pub(crate) fn is_same_place(one: &Path, other: &Path) -> bool {
    let resolved = [one, other].map(Path::canonicalize);
    one == other || matches!(resolved, [Ok(one), Ok(other)] if one == other)
}

/// Whether undivided data is what the run was trained on, wherever it is: the run's own parts can be drawn from it again.
fn is_same_data(experiment: &Experiment, description: &Description) -> bool {
    let splits: &[Split] = match experiment.data.options.test_fraction {
        0.0 => &[Split::Whole],
        _ => &[Split::Train, Split::Test],
    };
    let open = |&split: &Split| {
        let mut set = part(experiment, &experiment.data.root, split)?;
        if experiment.data.options.on_bad_image == OnBadImage::Skip {
            check(experiment, &mut set)?;
        }
        Ok::<_, TrainError>(set)
    };
    let sets: Result<Vec<Dataset>, TrainError> = splits.iter().map(open).collect();
    sets.is_ok_and(|sets| sha256(sets.iter().map(Some)) == description.data_sha256)
}

/// Whether the configuration has `split` choose the best epoch. A validation part of the data's own stands in for the
/// test set.
fn by_configuration(experiment: &Experiment, split: &str) -> bool {
    match experiment.chosen_by() {
        Some("test") => matches!(split, "test" | "validation"),
        other => other == Some(split),
    }
}

/// Brings encoded images to the size that the network was trained on.
fn fit_size(experiment: &mut Experiment, [_, height, _]: [usize; 3]) {
    let options = &mut experiment.data.options;
    if options.size as usize != height {
        options.size = height as u32;
        options.resize = Some(height as u32);
    }
}

/// The name of the part to read: the one `asked` for, or the first of test, validation and all that there is.
fn choose_split(
    experiment: &Experiment,
    parts: &[Split],
    is_own: bool,
    asked: Option<&str>,
) -> Result<&'static str, TrainError> {
    const NAMES: [&str; 4] = ["test", "validation", "train", "all"];
    if let Some(asked) = asked {
        let refuse = |accepted: String| TrainError::Value {
            key: "--split".into(),
            found: asked.into(),
            accepted,
        };
        if asked == "all" && !parts.is_empty() {
            let parts: Vec<String> = parts.iter().map(Split::to_string).collect();
            return Err(refuse(format!(
                "{}, the parts of the data",
                parts.join(", ")
            )));
        }
        let known = NAMES.into_iter().find(|&name| name == asked);
        return known.ok_or_else(|| refuse(NAMES.join(", ")));
    }
    let data = &experiment.data;
    Ok(match parts {
        parts if parts.contains(&Split::Test) => "test",
        parts if parts.contains(&Split::Validation) => "validation",
        [] if is_own && data.options.test_fraction > 0.0 => "test",
        _ if is_own && data.validation > 0.0 => "validation",
        [] => "all",
        _ => "train",
    })
}

/// Which records of a published part.
enum Records {
    All,
    /// Those that the run trained on.
    Training,
    /// Those that `data.validation` held out.
    HeldOut,
}

/// Where the records of `split` are.
fn place(
    experiment: &Experiment,
    parts: &[Split],
    split: &str,
) -> Result<(Split, Records), TrainError> {
    let data = &experiment.data;
    let holds_out = data.validation > 0.0;
    let train = match parts.is_empty() && holds_out && data.options.test_fraction == 0.0 {
        true => Split::Whole,
        false => Split::Train,
    };
    match split {
        "train" => Ok((train, Records::Training)),
        "test" => Ok((Split::Test, Records::All)),
        "validation" if parts.contains(&Split::Validation) => Ok((Split::Validation, Records::All)),
        "validation" if holds_out => Ok((train, Records::HeldOut)),
        "validation" => Err(TrainError::Value {
            key: "--split".into(),
            found: split.into(),
            accepted: "test, train (this run held no validation part out)".into(),
        }),
        _ => Ok((Split::Whole, Records::All)),
    }
}

/// Refuses a number of classes that is not the number of outputs of a network without names.
fn check_count(outputs: &[String], set: &Dataset) -> Result<(), TrainError> {
    if outputs.len() == set.classes() {
        return Ok(());
    }
    Err(TrainError::Value {
        key: "the number of classes".into(),
        found: format!("{} in {}", set.classes(), set.name),
        accepted: format!(
            "{}, the outputs of the network; an import with --class-names matches classes by name, whatever their \
             number",
            outputs.len()
        ),
    })
}

/// Numbers the classes of `set` in the order that a network without names is assumed to have. Returns a line that
/// says so.
fn assume_order(set: &mut Dataset, asked: Option<ClassOrder>) -> Result<String, TrainError> {
    if asked.is_none() && orders_differ(&set.class_names) {
        let first: Vec<&str> = set.class_names.iter().take(5).map(String::as_str).collect();
        return Err(TrainError::Value {
            key: "the order of the classes".into(),
            found: format!("unknown to a network without class names, and ambiguous for {}...", first.join(", ")),
            accepted: "--class-order bytes (1, 10, 2: folders in torchvision) or --class-order value (1, 2, 10), or an \
                       import with --class-names"
                .into(),
        });
    }
    if let Some(order) = asked {
        let names = order.sorted(&set.class_names);
        let (sorted, _) = set
            .clone()
            .with_classes(&names, "the data", UnknownClasses::Refuse)?;
        *set = sorted;
    }
    let names = set.class_names.iter().take(10).map(String::as_str);
    let names: Vec<&str> = names.collect();
    let more = if set.classes() > names.len() {
        ", ..."
    } else {
        ""
    };
    Ok(format!(
        "the network has no class names: its outputs are taken as {}{more} (import with --class-names says otherwise)",
        names.join(", ")
    ))
}

fn check_size(set: &Dataset, input: [usize; 3]) -> Result<(), TrainError> {
    let found = set.shape;
    if [found.channels, found.height, found.width] == input {
        return Ok(());
    }
    let [channels, height, width] = input;
    Err(TrainError::Value {
        key: "the size of the images".into(),
        found: found.to_string(),
        accepted: format!("{channels}x{height}x{width}, what the checkpoint was trained on"),
    })
}
