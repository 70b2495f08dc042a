//! Tests that every key of a number refuses NaN and infinity, with an error that names the key.

use std::path::Path;

use shufflenet_data::{Format, Options, Split, SyntheticOptions, open};
use shufflenet_train::experiment::settings;

/// The error of an experiment with these `--set` values, or nothing if it is accepted.
fn refusal(assignments: &[String]) -> Option<String> {
    let base = ["data.format=synthetic", "data.root=x", "distill.from=x"].map(String::from);
    let all = [&base[..], assignments].concat();
    let experiment = match settings::load_or_assemble(None, &all) {
        Ok(experiment) => experiment,
        Err(error) => return Some(error.to_string()),
    };
    // These keys are checked only after the data was opened.
    let options = Options {
        synthetic: SyntheticOptions {
            train: 10,
            ..SyntheticOptions::default()
        },
        ..Options::default()
    };
    let synthetic = Format::named("synthetic").unwrap();
    let set = open(synthetic, Path::new("x"), Split::Train, &options).unwrap();
    let data = &experiment.data;
    let normalization = data.normalization.as_ref();
    let of_data = data
        .options
        .check()
        .and_then(|()| data.augmentation.check(&set))
        .and_then(|()| normalization.map_or(Ok(()), |values| Ok(values.check(3)?)));
    let of_model = experiment.model.validate(224, 224);
    let of_data = of_data.err().map(|error| error.to_string());
    of_data.or_else(|| of_model.err().map(|error| error.to_string()))
}

/// Section and key of every documented number.
fn documented() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut section = String::new();
    let mut found = Vec::new();
    for line in page.lines() {
        let mut quoted = line.split('`');
        if line.starts_with("## ") {
            section = quoted.nth(1).unwrap().into();
        } else if line.contains("` | number |") {
            found.push((section.clone(), quoted.nth(1).unwrap().into()));
        }
    }
    found
}

#[test]
fn no_number_of_a_configuration_is_nan_or_infinite() {
    let keys = documented();
    assert_eq!(keys.len(), 41, "{keys:?}");
    for bad in ["nan", "-nan", "inf", "-inf"] {
        for (section, key) in &keys {
            let assignment = match section.as_str() {
                "optimizer.parts" => {
                    format!("optimizer.parts=[{{ names = \"fc.*\", {key} = {bad} }}]")
                }
                _ => format!("{section}.{key}={bad}"),
            };
            let line = refusal(std::slice::from_ref(&assignment));
            let line = line.unwrap_or_else(|| panic!("{assignment} is accepted"));
            // An error about the network has the key without its section.
            let named = match section.as_str() {
                "model" => key.clone(),
                _ => format!("{section}.{key}"),
            };
            assert!(line.contains(&named), "{assignment}: {line}");
        }
        for (key, assignment) in [
            (
                "data.normalization.mean",
                format!("mean = [0, {bad}, 0], std = [1, 1, 1]"),
            ),
            (
                "data.normalization.std",
                format!("mean = [0, 0, 0], std = [1, 1, {bad}]"),
            ),
        ] {
            let line = refusal(&[format!("data.normalization={{ {assignment} }}")]).unwrap();
            assert!(line.contains(key), "{line}");
        }
        for (key, list) in [
            (
                "data.augmentation.random_erasing.area",
                format!("[0.1, {bad}]"),
            ),
            (
                "data.augmentation.random_erasing.area",
                format!("[{bad}, 0.1]"),
            ),
            (
                "data.augmentation.random_erasing.ratio",
                format!("[0.1, {bad}]"),
            ),
            (
                "data.augmentation.random_erasing.ratio",
                format!("[{bad}, 0.1]"),
            ),
            ("loss.class_weights", format!("[1.0, {bad}]")),
            ("schedule.multi_step.milestones", format!("[1, {bad}]")),
        ] {
            let line = refusal(&[format!("{key}={list}")]);
            let line = line.unwrap_or_else(|| panic!("{key}={list} is accepted"));
            assert!(line.contains(key), "{line}");
        }
    }
    assert_eq!(refusal(&[]), None);
}
