//! From a TOML file and `--set key.path=value` to an [`Experiment`].
//!
//! Overrides are laid over the file's table before anything is interpreted, so both go through the
//! same checks. The error for an unknown key names the nearest key. The error for a value of the wrong type names the
//! key, what was found and what is accepted.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use shufflenet_data::{expand_home, text};
use shufflenet_model::ModelConfig;
use toml::{Table, Value};

use crate::error::TrainError;
use crate::experiment::Experiment;

/// Reads `file`, lays `overrides` (each `key.path=value`) over it, and checks the result.
/// An experiment without a name takes the file's.
///
/// # Errors
/// One line that names the file and the key: unreadable file, TOML syntax, unknown key, wrong
/// type, or a value that makes no sense.
pub fn load(file: &Path, overrides: &[String]) -> Result<Experiment, TrainError> {
    load_or_assemble(Some(file), overrides)
}

/// Reads an experiment as [`load`] does. Without a file, from the overrides alone.
///
/// # Errors
/// The errors of [`load`].
pub fn load_or_assemble(
    file: Option<&Path>,
    overrides: &[String],
) -> Result<Experiment, TrainError> {
    let (mut table, origin) = match file {
        None => (Table::new(), "the command line".into()),
        Some(file) => {
            let bytes =
                std::fs::read(file).map_err(|source| TrainError::io("read", file, source))?;
            let origin = file.display().to_string();
            let text = text::decode(&bytes).map_err(|message| TrainError::Config {
                origin: origin.clone(),
                message,
            })?;
            let table = text
                .parse()
                .map_err(|error| syntax(&origin, text, &error))?;
            (table, origin)
        }
    };
    for assignment in overrides {
        assign(&mut table, assignment)?;
    }
    let stem = file.and_then(Path::file_stem).unwrap_or("unnamed".as_ref());
    interpret(table, &origin, &stem.to_string_lossy())
}

/// `experiment` with `overrides` laid over it, checked.
///
/// # Errors
/// The errors of [`load`].
pub fn overridden(experiment: &Experiment, overrides: &[String]) -> Result<Experiment, TrainError> {
    let mut table = Table::try_from(experiment).map_err(|error| TrainError::Encode {
        what: "the experiment",
        message: error.to_string(),
    })?;
    for assignment in overrides {
        assign(&mut table, assignment)?;
    }
    interpret(table, "the command line", &experiment.name)
}

/// The experiment that `table` from `origin` describes, checked. `name` names one without a name.
fn interpret(table: Table, origin: &str, name: &str) -> Result<Experiment, TrainError> {
    let mut experiment: Experiment = parse(table, origin)?;
    if experiment.name.is_empty() {
        experiment.name = name.into();
    }
    experiment.data.root = expand_home(&experiment.data.root);
    let from = &mut experiment.fine_tune.from;
    *from = from.take().map(|from| expand_home(&from));
    for teacher in experiment.distill.iter_mut().flat_map(|d| &mut d.from.0) {
        *teacher = expand_home(teacher);
    }
    experiment.check()?;
    Ok(experiment)
}

/// The value that `overrides` give the key `path`, as text. `None`: they leave it alone.
pub fn value_of<'a>(overrides: &'a [String], path: &str) -> Option<&'a str> {
    let pairs = overrides.iter().rev().filter_map(|o| o.split_once('='));
    let mut values = pairs.filter(|(key, _)| key.trim() == path);
    values
        .next()
        .map(|(_, value)| value.trim().trim_matches(['"', '\'']))
}

/// Only the network of the experiment in `file` or, without one, of the overrides alone.
///
/// # Errors
/// The errors of [`load`].
pub fn load_model(file: Option<&Path>, overrides: &[String]) -> Result<ModelConfig, TrainError> {
    /// An experiment without data.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Network {
        #[serde(default)]
        model: ModelConfig,
    }
    if let Some(file) = file {
        return Ok(load(file, overrides)?.model);
    }
    let mut table = Table::new();
    for assignment in overrides {
        assign(&mut table, assignment)?;
    }
    let network: Network = parse(table, "the command line")?;
    Ok(network.model)
}

/// The experiment as TOML with every key that is set.
///
/// # Errors
/// [`TrainError::Encode`], which today's types do not reach.
pub fn to_toml(experiment: &Experiment) -> Result<String, TrainError> {
    toml::to_string(experiment).map_err(|error| TrainError::Encode {
        what: "the experiment",
        message: error.to_string(),
    })
}

fn syntax(origin: &str, text: &str, error: &toml::de::Error) -> TrainError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    TrainError::Config {
        origin: format!("{origin}:{line}"),
        message: error.message().replace('\n', ", "),
    }
}

fn parse<T: DeserializeOwned>(table: Table, origin: &str) -> Result<T, TrainError> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let path = error.path().to_string();
        let message = in_words(error.inner().message());
        let message = match unknown_key(&path, &message) {
            Some(answer) => answer,
            None if path == "." => message,
            None => format!("{path}: {message}"),
        };
        TrainError::Config {
            origin: origin.into(),
            message,
        }
    })
}

/// Serde's message without the names of Rust's types.
fn in_words(message: &str) -> String {
    let whole = "expected a whole number from 0";
    let words = [
        ("expected usize", whole),
        ("expected u64", whole),
        ("expected f64", "expected a number"),
    ];
    let message = match message.split_once("expected struct ") {
        Some((found, _)) => &format!("{found}expected a section"),
        None => message,
    };
    words
        .into_iter()
        .fold(message.into(), |message: String, (rust, words)| {
            message.replace(rust, words)
        })
}

/// Turns serde's "unknown field `x`, expected one of `a`, `b`" at `path` into an answer with the
/// nearest key. Variants of an enum ("unknown variant") are values: they keep serde's own words.
fn unknown_key(path: &str, message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let mut quoted = rest.split('`').step_by(2);
    let found = quoted.next()?;
    let known: Vec<&str> = quoted.collect();
    let nearest = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(found, a).total_cmp(&strsim::jaro_winkler(found, b)))?;
    // The path ends with the unknown key itself where the format reports it.
    let section = path
        .strip_suffix(found)
        .unwrap_or(path)
        .trim_matches('.')
        .to_string();
    let full = |key: &str| match section.is_empty() {
        true => key.to_string(),
        false => format!("{section}.{key}"),
    };
    Some(format!(
        "unknown key `{}`; did you mean `{}`? (accepted here: {})",
        full(found),
        full(nearest),
        known.join(", ")
    ))
}

/// Lays one `key.path=value` over the table. A value that is not TOML is a string,
/// so that `--set data.root=data/mine` needs no quotes.
fn assign(table: &mut Table, assignment: &str) -> Result<(), TrainError> {
    let malformed = |message: String| TrainError::Config {
        origin: format!("--set {assignment}"),
        message,
    };
    let (path, text) = assignment
        .split_once('=')
        .ok_or_else(|| malformed("expected key.path=value".into()))?;
    let value = literal(text);
    let keys: Vec<&str> = path.trim().split('.').collect();
    let (last, sections) = keys
        .split_last()
        .filter(|_| keys.iter().all(|key| !key.is_empty()))
        .ok_or_else(|| malformed("expected key.path=value".into()))?;
    let mut section = table;
    for key in sections {
        section = section
            .entry(*key)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| malformed(format!("`{key}` is a value, not a section")))?;
    }
    section.insert((*last).into(), value);
    Ok(())
}

/// A TOML value. Text that is not TOML is a string.
fn literal(text: &str) -> Value {
    let value = match format!("value = {text}").parse::<Table>() {
        Ok(mut parsed) if parsed.len() == 1 => parsed.remove("value"),
        _ => None,
    };
    value.unwrap_or_else(|| Value::String(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str, overrides: &[&str]) -> Result<Experiment, TrainError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trial.toml");
        std::fs::write(&file, text).unwrap();
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        load(&file, &overrides)
    }

    const MINIMAL: &str = "[data]\nformat = \"idx\"\nroot = \"data/x\"\n";

    fn refusal(text: &str, overrides: &[&str]) -> String {
        load_text(text, overrides).unwrap_err().to_string()
    }

    #[test]
    fn the_file_names_the_run_and_defaults_fill_the_rest() {
        let experiment = load_text(MINIMAL, &[]).unwrap();
        assert_eq!(experiment.name, "trial");
        assert_eq!(experiment.train.epochs, 200);
    }

    #[test]
    fn overrides_replace_the_files_values() {
        let overrides = ["train.epochs=3", "data.root=elsewhere/y", "model.scale=0.5"];
        let experiment = load_text(MINIMAL, &overrides).unwrap();
        assert_eq!(experiment.train.epochs, 3);
        assert_eq!(experiment.data.root, Path::new("elsewhere/y"));
    }

    #[test]
    fn the_resolved_experiment_reads_back_as_itself() {
        let experiment = load_text(MINIMAL, &["data.limit=7"]).unwrap();
        let again = load_text(&to_toml(&experiment).unwrap(), &[]).unwrap();
        assert_eq!(experiment, again);
    }

    #[test]
    fn unknown_keys_are_answered_with_the_nearest() {
        let line = refusal(MINIMAL, &["train.epoch=3"]);
        assert!(
            line.contains("unknown key `train.epoch`; did you mean `train.epochs`?"),
            "{line}"
        );
        let line = refusal("[trian]\n", &[]);
        assert!(
            line.contains("unknown key `trian`; did you mean `train`?"),
            "{line}"
        );
    }

    #[test]
    fn a_wrong_type_names_key_and_value() {
        let line = refusal(MINIMAL, &["train.epochs=ten"]);
        assert!(line.contains("train.epochs"), "{line}");
        assert!(line.contains("\"ten\""), "{line}");
        let line = refusal(MINIMAL, &["distill=runs/teacher"]);
        let words = "distill: invalid type: string \"runs/teacher\", expected a section";
        assert!(line.ends_with(words), "{line}");
    }

    #[test]
    fn senseless_values_are_refused_with_what_is_accepted() {
        for (assignment, key) in [
            ("train.batch_size=0", "train.batch_size"),
            ("data.validation=1.5", "data.validation"),
            ("data.validation_seed=3", "data.validation_seed"),
            ("optimizer.learning_rate=-1", "optimizer.learning_rate"),
            ("optimizer.momentum=nan", "optimizer.momentum"),
            ("name=a/b", "name"),
        ] {
            let line = refusal(MINIMAL, &[assignment]);
            assert!(line.contains(key) && line.contains("accepted"), "{line}");
        }
    }

    #[test]
    fn syntax_errors_carry_file_and_line() {
        let line = refusal("[data]\nformat = \n", &[]);
        assert!(line.contains("trial.toml:2"), "{line}");
    }

    #[test]
    fn a_file_may_come_from_windows_but_is_utf_8() {
        let windows = format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n"));
        let experiment = load_text(&windows, &[]).unwrap();
        assert_eq!(experiment.data.root, Path::new("data/x"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trial.toml");
        let units = windows.encode_utf16().flat_map(u16::to_le_bytes);
        std::fs::write(&file, units.collect::<Vec<_>>()).unwrap();
        let line = load(&file, &[]).unwrap_err().to_string();
        assert!(
            line.contains("trial.toml: text in UTF-16; save it as UTF-8"),
            "{line}"
        );
        std::fs::write(&file, b"name = \"x\"\n# caf\xe9\n").unwrap();
        let line = load(&file, &[]).unwrap_err().to_string();
        assert!(line.contains("trial.toml: a byte 0xe9 in line 2"), "{line}");
    }

    #[test]
    fn an_override_that_is_no_assignment_is_refused() {
        for bad in ["train.epochs", "=3", "train..epochs=3", "data.root.x=1"] {
            let line = refusal(MINIMAL, &[bad]);
            assert!(line.contains(bad), "{line}");
        }
    }
}
