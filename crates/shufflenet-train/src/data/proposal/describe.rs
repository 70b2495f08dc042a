//! The first lines of a run without a configuration: the choices and their reasons.

use shufflenet_data::Split;

use super::{Facts, recipe};
use crate::display::words::{counted, thousands};
use crate::experiment::Experiment;
use crate::recipe::progressive::Stage;

/// Lines on the choices in `experiment` for `facts`, with the user's `overrides`.
pub(super) fn describe(
    facts: &Facts,
    experiment: &Experiment,
    overrides: &[String],
) -> Vec<String> {
    let side = facts.appearance.shorter_side;
    let size = recipe::size(facts, &experiment.data.options);
    let channels = experiment
        .model
        .input_channels
        .unwrap_or(facts.set.shape.channels);
    let decides = |over: &&String| {
        let keys = ["model.", "data.options.size", "data.options.resize"];
        keys.iter().any(|key| over.trim().starts_with(key))
    };
    let why = match &facts.start {
        _ if overrides.iter().any(|over| decides(&over)) => "as --set has it".into(),
        Some(start) => {
            let (from, [theirs, height, width]) = (start.path.display(), start.description.input);
            match [theirs, height, width] == [channels, size, size] {
                true => format!("as {from} has them"),
                false => format!("as the data is; {from} has {theirs}x{height}x{width}"),
            }
        }
        None => {
            let colour = if facts.appearance.is_grey {
                "grey"
            } else {
                "colour"
            };
            format!(
                "for {colour} images with shorter sides of {} (the median)",
                counted(side, "pixel")
            )
        }
    };
    let changes = &experiment.data.augmentation;
    let changed = [
        (changes.random_resized_crop, ", random windows"),
        (changes.crop_padding > 0, ", random shifts"),
        (changes.flip, ", mirror images"),
    ];
    let changed: String = changed
        .iter()
        .filter(|&&(is_on, _)| is_on)
        .map(|&(_, words)| words)
        .collect();
    let mut lines = vec![
        format!(
            "chosen     format {}: {}",
            experiment.data.format.name(),
            division(facts, experiment)
        ),
        format!(
            "chosen     network {}, {} stem, {channels}x{size}x{size} in: {why}",
            experiment.model.size(),
            experiment.model.stem(),
        ),
        format!(
            "chosen     {} in batches of {}{}{changed}",
            counted(experiment.train.epochs, "epoch"),
            thousands(experiment.train.batch_size),
            sizes(&experiment.train.progressive, size),
        ),
    ];
    lines.extend(colours(facts, channels));
    lines.push(
        "chosen     --set KEY=VALUE changes a choice, --print-config shows all of them".into(),
    );
    lines
}

/// A line if weights for colour images get grey images, or the other way round.
fn colours(facts: &Facts, channels: usize) -> Option<String> {
    let start = facts.start.as_ref().filter(|_| facts.format.is_encoded())?;
    let theirs = start.description.input[0];
    let from = start.path.display();
    let what = match (theirs, facts.appearance.is_grey) {
        // Other cases are refused or reported later.
        _ if channels != theirs => return None,
        (1, false) => format!(
            "{from} was trained on grey images: the data has colours, which are removed; weights for colour images keep them"
        ),
        (3, true) => format!(
            "{from} was trained on colour images: the data is grey, and is used as red = green = blue"
        ),
        _ => return None,
    };
    Some(format!("chosen     {what}"))
}

/// The sizes of images over the epochs, if they change.
fn sizes(stages: &[Stage], last: usize) -> String {
    if stages.is_empty() {
        return String::new();
    }
    let sizes: Vec<String> = stages.iter().map(|stage| stage.size.to_string()).collect();
    format!(", at {} and then {last} pixels", sizes.join(", "))
}

/// The number of images, and the part that chooses the best epoch.
fn division(facts: &Facts, experiment: &Experiment) -> String {
    let others = facts.parts.iter().filter(|&&part| part != Split::Train);
    let others: Vec<String> = others.map(|part| format!("a {part} part")).collect();
    let of = match facts.parts.is_empty() {
        true => "image",
        false => "training image",
    };
    let beside = match others.is_empty() {
        true => String::new(),
        false => format!(", and {}", others.join(" and ")),
    };
    let chooser = match experiment.data.validation {
        0.0 if facts.parts.contains(&Split::Validation) => {
            "the validation part chooses the best epoch".into()
        }
        0.0 if facts.parts.contains(&Split::Test) => "the test part chooses the best epoch".into(),
        0.0 => "nothing is held out to choose the best epoch by".into(),
        fraction => format!(
            "{} of them, of every class, held out to choose the best epoch",
            thousands(recipe::held_out_of(facts, fraction))
        ),
    };
    format!(
        "{} of {}{beside}; {chooser}",
        counted(facts.set.len(), of),
        counted(facts.set.classes(), "class")
    )
}
