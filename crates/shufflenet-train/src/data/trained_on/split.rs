//! The part of the data that a trained network is evaluated on, and whether that part chose the network.

use shufflenet_data::Split;

use crate::error::TrainError;
use crate::experiment::Experiment;

/// The names of parts.
const NAMES: [&str; 4] = ["test", "validation", "train", "all"];

/// The part of the name `asked`.
///
/// # Errors
/// [`TrainError::Value`]: no part has such a name.
pub(crate) fn named(asked: &str) -> Result<&'static str, TrainError> {
    let known = NAMES.into_iter().find(|&name| name == asked);
    known.ok_or_else(|| refused(asked, NAMES.join(", ")))
}

fn refused(asked: &str, accepted: String) -> TrainError {
    TrainError::Value {
        key: "--split".into(),
        found: asked.into(),
        accepted,
    }
}

/// The name of the part to read: `asked`, or the first of test, validation and all that the data has.
pub(super) fn choose(
    experiment: &Experiment,
    parts: &[Split],
    is_own: bool,
    asked: Option<&str>,
) -> Result<&'static str, TrainError> {
    if let Some(asked) = asked {
        return named(asked);
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

/// A selection of the records of a published part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Records {
    All,
    /// Those that the run trained on.
    Training,
    /// Those that `data.validation` held out.
    HeldOut,
}

/// The published part that has the records of `split`, and the selection of its records.
///
/// # Errors
/// [`TrainError::Value`] if data without parts of its own is not divided so that it has such a part.
pub(super) fn place(
    experiment: &Experiment,
    parts: &[Split],
    is_own: bool,
    split: &str,
) -> Result<(Split, Records), TrainError> {
    let data = &experiment.data;
    let holds_out = data.validation > 0.0;
    let tests = data.options.test_fraction > 0.0;
    let train = match parts.is_empty() && holds_out && !tests {
        true => Split::Whole,
        false => Split::Train,
    };
    let lacking = || {
        let whose = if is_own { "this run" } else { "this data" };
        let of_data = parts.iter().rev().map(Split::to_string);
        let drawn = [
            ("test", parts.is_empty() && tests),
            ("validation", holds_out),
            ("train", parts.is_empty() && (tests || holds_out)),
            ("all", parts.is_empty()),
        ];
        let drawn = drawn.into_iter().filter(|(_, is_there)| *is_there);
        let there: Vec<String> = of_data.chain(drawn.map(|(name, _)| name.into())).collect();
        let there = there.join(", ");
        let why = match split {
            "all" => "all is for data without parts".into(),
            _ => format!("{whose} has no {split} part"),
        };
        Err(refused(split, format!("{there} ({why})")))
    };
    match split {
        "train" if parts.is_empty() && !tests && !holds_out => lacking(),
        "train" => Ok((train, Records::Training)),
        "test" if parts.is_empty() && !tests => lacking(),
        "test" => Ok((Split::Test, Records::All)),
        "validation" if parts.contains(&Split::Validation) => Ok((Split::Validation, Records::All)),
        "validation" if holds_out => Ok((train, Records::HeldOut)),
        "validation" => lacking(),
        "all" if !parts.is_empty() => lacking(),
        _ => Ok((Split::Whole, Records::All)),
    }
}

/// Whether `split` chooses the best epoch by the configuration. A validation part of the data takes the place of the test
/// set.
pub(super) fn by_configuration(experiment: &Experiment, split: &str) -> bool {
    match experiment.chosen_by() {
        Some("test") => matches!(split, "test" | "validation"),
        other => other == Some(split),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An experiment on data with these random fractions of it.
    fn experiment(validation: f64, test: f64) -> Experiment {
        let text = format!(
            "[model]\nclasses = 2\nstem = \"cifar\"\n[data]\nformat = \"folder\"\nroot = \"set\"\n\
             validation = {validation:?}\n[data.options]\ntest_fraction = {test:?}\n"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_part_that_is_not_there_is_refused_with_those_that_are() {
        let refusal = |experiment: &Experiment, parts: &[Split], is_own: bool, split: &str| {
            let place = place(experiment, parts, is_own, split);
            place.map(|_| ()).unwrap_err().to_string()
        };
        let (held_out, tested, neither) = (
            experiment(0.2, 0.0),
            experiment(0.0, 0.2),
            experiment(0.0, 0.0),
        );
        for (line, expected) in [
            (
                refusal(&held_out, &[], true, "test"),
                "--split is test; accepted: validation, train, all (this run has no test part)",
            ),
            (
                refusal(&tested, &[], true, "validation"),
                "--split is validation; accepted: test, train, all (this run has no validation part)",
            ),
            (
                refusal(&neither, &[], false, "train"),
                "--split is train; accepted: all (this data has no train part)",
            ),
            (
                refusal(&neither, &[Split::Train, Split::Test], true, "validation"),
                "--split is validation; accepted: test, train (this run has no validation part)",
            ),
            (
                refusal(&held_out, &[Split::Train, Split::Test], true, "all"),
                "--split is all; accepted: test, train, validation (all is for data without parts)",
            ),
        ] {
            assert_eq!(line, expected);
        }
        assert!(place(&held_out, &[], true, "train").is_ok());
        assert!(place(&tested, &[], true, "test").is_ok());
        let line = named("tset").unwrap_err().to_string();
        assert_eq!(
            line,
            "--split is tset; accepted: test, validation, train, all"
        );
    }
}
