//! Compares two experiments: whether a run of the one may continue as the other.
//!
//! Keys for the length of the run, the place of the data or the files that are kept may differ. A key that would have
//! changed a step that was already taken may not differ.

use std::path::Path;

use toml::{Table, Value};

use crate::error::TrainError;
use crate::experiment::Experiment;

/// Keys that may differ between a run and its resumption.
const MAY_CHANGE: [&str; 15] = [
    "name",
    "data.root",
    "data.workers",
    "data.check",
    // The images that remain are compared with those of the start.
    "data.options.on_bad_image",
    // Teachers are compared by their content.
    "distill.from",
    "train.epochs",
    "train.max_steps",
    "train.log_every",
    "train.patience",
    "train.evaluate_every",
    "checkpoint.every_steps",
    "checkpoint.every_minutes",
    "checkpoint.keep",
    "cluster.timeout_seconds",
];

/// The key that may differ if the user accepts it.
pub(crate) const PRECISION: &str = "train.precision";

/// Refuses to continue the run in the folder `run`, started with `old`, as `new`. `accepted` are keys that may differ
/// besides those that always may.
///
/// # Errors
/// [`TrainError::Changed`] with the first key that differs and may not.
pub(crate) fn check_same(
    run: &Path,
    old: &Experiment,
    new: &Experiment,
    accepted: &[&str],
) -> Result<(), TrainError> {
    // If this seed is unset, it is `train.seed`.
    let divides_alike = old.validation_seed() == new.validation_seed();
    let (old, new) = (flatten(old)?, flatten(new)?);
    let keys = old.iter().chain(&new).map(|(key, _)| key);
    let value = |pairs: &[(String, String)], key: &str| {
        let found = pairs.iter().find(|(k, _)| k == key);
        found.map_or("unset".to_string(), |(_, value)| value.clone())
    };
    for key in keys {
        if MAY_CHANGE.contains(&key.as_str()) || accepted.contains(&key.as_str()) {
            continue;
        }
        if key == "data.validation_seed" && divides_alike {
            continue;
        }
        let (before, now) = (value(&old, key), value(&new, key));
        if before != now {
            return Err(TrainError::Changed {
                run: run.into(),
                key: key.clone(),
                old: before,
                new: match key == PRECISION {
                    true => format!("{now} (--accept-changed-precision accepts it)"),
                    false => now,
                },
            });
        }
    }
    Ok(())
}

/// Every key of an experiment with its value as TOML.
pub(crate) fn flatten(experiment: &Experiment) -> Result<Vec<(String, String)>, TrainError> {
    let table = Table::try_from(experiment).map_err(|error| TrainError::Encode {
        what: "the experiment",
        message: error.to_string(),
    })?;
    Ok(flatten_table(&table))
}

/// Every key of a table and of the tables in it, with its value as TOML.
pub(crate) fn flatten_table(table: &Table) -> Vec<(String, String)> {
    fn walk(prefix: &str, table: &Table, into: &mut Vec<(String, String)>) {
        for (key, value) in table {
            match value {
                Value::Table(inner) => walk(&format!("{prefix}{key}."), inner, into),
                value => into.push((format!("{prefix}{key}"), value.to_string())),
            }
        }
    }
    let mut pairs = Vec::new();
    walk("", table, &mut pairs);
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::settings;

    fn experiment(more: &[&str]) -> Experiment {
        let base = [
            "data.format=synthetic",
            "data.root=x",
            "data.validation=0.1",
            "train.seed=1",
        ];
        let all: Vec<String> = base.iter().chain(more).map(ToString::to_string).collect();
        settings::load_or_assemble(None, &all).unwrap()
    }

    #[test]
    fn a_division_may_follow_from_either_seed() {
        let run = Path::new("run");
        let (unset, set) = (experiment(&[]), experiment(&["data.validation_seed=1"]));
        check_same(run, &unset, &set, &[]).unwrap();
        check_same(run, &set, &unset, &[]).unwrap();
        for (other, words) in [
            (
                &["data.validation_seed=2"][..],
                "data.validation_seed = unset, now it is 2",
            ),
            (&["train.seed=2"], "train.seed = 1, now it is 2"),
        ] {
            let refused = check_same(run, &unset, &experiment(other), &[]);
            let line = refused.unwrap_err().to_string();
            assert!(line.contains(words), "{line}");
        }
    }
}
