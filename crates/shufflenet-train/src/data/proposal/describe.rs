//! The first lines of a run without a configuration: what was chosen, and by what.

use shufflenet_data::Split;

use super::{Facts, recipe};
use crate::display::words::{counted, thousands};
use crate::experiment::Experiment;

/// Lines on what `experiment`, chosen by `facts` and overridden by the user, came to.
pub(super) fn describe(facts: &Facts, experiment: &Experiment) -> Vec<String> {
    let side = facts.appearance.shorter_side;
    let size = recipe::size(facts, &experiment.data.options);
    let why = match &facts.start {
        Some(start) => format!("as {} has them", start.path.display()),
        None => {
            let colour = if facts.appearance.is_grey {
                "grey"
            } else {
                "colour"
            };
            format!("for {colour} images with shorter sides of {side} pixels (the median)")
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
    vec![
        format!(
            "chosen     format {}: {}",
            experiment.data.format.name(),
            division(facts, experiment)
        ),
        format!(
            "chosen     network {}, {} stem, {size}x{size} pixels: {why}",
            experiment.model.size(),
            experiment.model.stem(),
        ),
        format!(
            "chosen     {} in batches of {}{changed}",
            counted(experiment.train.epochs, "epoch"),
            thousands(experiment.train.batch_size),
        ),
        "chosen     --set KEY=VALUE changes a choice, --print-config shows all of them".into(),
    ]
}

/// How many images there are, and what chooses the best epoch.
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
        0.0 => "the test part chooses the best epoch".into(),
        fraction => format!(
            "{:.0} % of each class, held out, choose the best epoch",
            fraction * 100.0
        ),
    };
    format!(
        "{} of {} classes{beside}; {chooser}",
        counted(facts.set.len(), of),
        thousands(facts.set.classes())
    )
}
