//! The part of the data that a trained network meets, and whether that part chose the network.

use shufflenet_data::Split;

use crate::error::TrainError;
use crate::experiment::Experiment;

/// The name of the part to read: the one `asked` for, or the first of test, validation and all that there is.
pub(super) fn choose(
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
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Records {
    All,
    /// Those that the run trained on.
    Training,
    /// Those that `data.validation` held out.
    HeldOut,
}

/// Where the records of `split` are: a published part, and which of its records.
pub(super) fn place(
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

/// Whether the configuration has `split` choose the best epoch. A validation part of the data's own stands in for the
/// test set.
pub(super) fn by_configuration(experiment: &Experiment, split: &str) -> bool {
    match experiment.chosen_by() {
        Some("test") => matches!(split, "test" | "validation"),
        other => other == Some(split),
    }
}
