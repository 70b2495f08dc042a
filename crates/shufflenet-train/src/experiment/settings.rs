//! From a TOML file and `--set key.path=value` to an [`Experiment`].
//!
//! Overrides are applied to the file's table (`layers.rs`) before it is interpreted, so both go through the same checks. A
//! refusal (`refusals.rs`) begins with the file or the override that has the key.

use std::path::Path;

use serde::Deserialize;
use shufflenet_data::{expand_home, text};
use shufflenet_model::ModelConfig;
use toml::Table;

use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::experiment::layers::{self, COMMAND_LINE, Layers};
use crate::experiment::syntax;

/// Height and width of the images that a network is checked with if no data is known.
const SIZE: usize = 224;

/// Reads `file`, applies `overrides` (each `key.path=value`, or a flag such as `--scale 0.5`), and checks the result. An
/// experiment without a name takes the file's name.
///
/// # Errors
/// One line that names the file and the key: unreadable file, TOML syntax, unknown key, wrong
/// type, or a value out of range.
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
    let (table, origin) = match file {
        None => (Table::new(), COMMAND_LINE.into()),
        Some(file) => {
            let bytes =
                std::fs::read(file).map_err(|source| TrainError::io("read", file, source))?;
            let origin = file.display().to_string();
            let text = text::decode(&bytes).map_err(|message| TrainError::Config {
                origin: origin.clone(),
                message,
            })?;
            (syntax::parse(&origin, text)?, origin)
        }
    };
    let stem = file.and_then(Path::file_stem).unwrap_or("unnamed".as_ref());
    let layers = Layers::new(table, origin, overrides)?;
    interpret(&layers, &stem.to_string_lossy())
}

/// `experiment` with `overrides`, checked.
///
/// # Errors
/// The errors of [`load`].
pub fn overridden(experiment: &Experiment, overrides: &[String]) -> Result<Experiment, TrainError> {
    let table = Table::try_from(experiment).map_err(|error| TrainError::Encode {
        what: "the experiment",
        message: error.to_string(),
    })?;
    let layers = Layers::new(table, COMMAND_LINE.into(), overrides)?;
    interpret(&layers, &experiment.name)
}

/// The experiment that `layers` describe, checked. An experiment without a name gets `name`.
fn interpret(layers: &Layers, name: &str) -> Result<Experiment, TrainError> {
    let named = |mut experiment: Experiment| {
        if experiment.name.is_empty() {
            experiment.name = name.into();
        }
        experiment
    };
    let check = |experiment: &Experiment| -> Result<(), TrainError> {
        experiment.check()?;
        Ok(experiment.model.validate(SIZE, SIZE)?)
    };
    let experiment = layers.read(|experiment| check(&named(experiment)))?;
    let mut experiment = named(experiment);
    experiment.data.root = expand_home(&experiment.data.root);
    let from = &mut experiment.fine_tune.from;
    *from = from.take().map(|from| expand_home(&from));
    for teacher in experiment.distill.iter_mut().flat_map(|d| &mut d.from.0) {
        *teacher = expand_home(teacher);
    }
    check(&experiment).map_err(|error| layers.locate(error))?;
    Ok(experiment)
}

/// The value that `overrides` give the key `path`, as text. `None`: they do not set it.
pub fn value_of(overrides: &[String], path: &str) -> Option<String> {
    layers::value_of(overrides, path)
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
    let layers = Layers::new(Table::new(), COMMAND_LINE.into(), overrides)?;
    let check = |network: &Network| Ok(network.model.validate(SIZE, SIZE)?);
    let network = layers.read(|network| check(&network))?;
    check(&network).map_err(|error| layers.locate(error))?;
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
    fn the_resolved_experiment_is_read_back_unchanged() {
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
    fn a_wrong_type_is_answered_with_the_key_the_value_and_the_range() {
        for (assignment, words) in [
            (
                "train.epochs=ten",
                "train.epochs is \"ten\"; accepted: a whole number from 1",
            ),
            (
                "train.epochs=-1",
                "train.epochs is -1; accepted: a whole number from 1",
            ),
            (
                "train.seed=18446744073709551615",
                "train.seed is \"18446744073709551615\"; accepted: a whole number from 0 to 9223372036854775807",
            ),
            (
                "train.epochs=9223372036854775808",
                "train.epochs is \"9223372036854775808\"; accepted: a whole number from 1 to 9223372036854775807",
            ),
            (
                "train.log_every=1.5",
                "train.log_every is 1.5; accepted: a whole number from 0",
            ),
            (
                "data.workers=-1",
                "data.workers is -1; accepted: a whole number from 0 to 64",
            ),
            (
                "data.options.size=big",
                "data.options.size is \"big\"; accepted: 1 to 4096 pixels",
            ),
            (
                "data.augmentation.rand_augment.magnitude=x",
                "data.augmentation.rand_augment.magnitude is \"x\"; accepted: a whole number from 0 to 30",
            ),
            (
                "data.options.synthetic.classes=70000",
                "data.options.synthetic.classes is 70000; accepted: a whole number from 0 to 65535",
            ),
            (
                "model.repeats=[3, 7, x]",
                "model.repeats is \"[3, 7, x]\"; accepted: a list",
            ),
            (
                "model.repeats=[3, 7, -1]",
                "model.repeats[2] is -1; accepted: a whole number from 0 to 64",
            ),
            (
                "model.scale=0.7",
                "model.scale is 0.7; accepted: 0.5, 1.0, 1.5, 2.0",
            ),
            (
                "optimizer.learning_rate=fast",
                "optimizer.learning_rate is \"fast\"; accepted: a positive number",
            ),
            (
                "optimizer.kind=foo",
                "optimizer.kind is \"foo\"; accepted: \"sgd\", \"adamw\", \"lion\", \"muon\"",
            ),
            (
                "distill=runs/teacher",
                "distill is \"runs/teacher\"; accepted: a section",
            ),
            (
                "data.normalization={std=[0.5]}",
                "data.normalization.mean is missing",
            ),
        ] {
            let line = refusal(MINIMAL, &[assignment]);
            assert_eq!(line, format!("--set {assignment}: {words}"));
        }
        let line = refusal(&format!("{MINIMAL}[train]\nepochs = \"ten\"\n"), &[]);
        let words = "trial.toml: train.epochs is \"ten\"; accepted: a whole number from 1";
        assert!(line.ends_with(words), "{line}");
        let line = refusal("", &[]);
        assert!(line.ends_with("trial.toml: data is missing"), "{line}");
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_its_origin_and_the_range() {
        for (assignment, words) in [
            (
                "train.batch_size=0",
                "train.batch_size is 0; accepted: a whole number from 1",
            ),
            (
                "data.validation=1.5",
                "data.validation is 1.5; accepted: a fraction from 0 to below 1",
            ),
            (
                "data.augmentation.mixing.cutmix=-1",
                "data.augmentation.mixing.cutmix is -1; accepted: 0, or a number from 0.01 to 4",
            ),
            (
                "optimizer.momentum=nan",
                "optimizer.momentum is NaN; accepted: a number from 0 to below 1",
            ),
            ("name=a/b", "name is a/b; accepted: the name of one folder"),
            (
                "data.root=",
                "data.root is \"\"; accepted: the folder, list or archive of the data",
            ),
        ] {
            let line = refusal(MINIMAL, &[assignment]);
            assert_eq!(line, format!("--set {assignment}: {words}"));
        }
        let line = refusal(&format!("{MINIMAL}validation = 1.5\n"), &["train.epochs=2"]);
        let words = "trial.toml: data.validation is 1.5; accepted: a fraction from 0 to below 1";
        assert!(line.ends_with(words), "{line}");
        // A key that accepts nothing without another key.
        let line = refusal(MINIMAL, &["data.validation_seed=3"]);
        let words = "data.validation_seed is 3, and data.validation is 0; accepted: a seed together with data.validation";
        assert!(line.ends_with(words), "{line}");
    }

    #[test]
    fn syntax_errors_name_file_and_line() {
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
}
