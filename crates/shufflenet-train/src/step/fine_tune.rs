//! Applies `[fine_tune]`: loads the weights to start from, and freezes parts of the network.
//!
//! A resumed run reads its own checkpoint instead.

use std::path::Path;

use shufflenet_data::{Normalization, orders_differ};
use shufflenet_model::{ClassifierStart, ShuffleNetV2, load_for_fine_tuning, parameters};

use crate::checkpoint::description::Description;
use crate::data::trained_on::seen::seen;
use crate::display::words::first_classes;
use crate::error::TrainError;
use crate::evaluation::trained;
use crate::recipe::fine_tune::FineTune;
use crate::recipe::optimizer::pattern;

/// Number of classes that a line names.
pub(super) const MOST_NAMED: usize = 5;

/// `network` with the weights to start from, and lines about them. `now` describes the run.
///
/// # Errors
/// Errors of the checkpoint; [`TrainError::Weights`] if it does not fit; [`TrainError::Value`]: another stem, or
/// classes in an unknown order.
pub fn load(
    config: &FineTune,
    now: &Description,
    network: ShuffleNetV2,
) -> Result<(ShuffleNetV2, Vec<String>), TrainError> {
    let Some(from) = &config.from else {
        let frozen = frozen(config, &network);
        let frozen =
            frozen.map(|line| format!("{line}, with random values: fine_tune.from is not set"));
        return Ok((network, frozen.into_iter().collect()));
    };
    let found = trained::find(from, None).map_err(|error| error.named_by("fine_tune.from"))?;
    let (path, bytes) = (found.path(), found.bytes()?);
    let before = &found.checkpoint.description;
    let mut notes = vec![format!("start      from {}", path.display())];
    notes.extend(stem(config, before, now)?);
    check_channels(from, before, now)?;
    let (rows, note) = classifier(config, before, now)?;
    notes.push(format!("start      {note}"));
    notes.extend(seen(before, now).map(|seen| format!("start      {seen}")));
    let start = rows
        .as_deref()
        .map_or(ClassifierStart::Fresh, ClassifierStart::Rows);
    notes.extend(frozen(config, &network));
    let loaded = load_for_fine_tuning(network, bytes, start);
    let (network, adapted) = loaded.map_err(|source| TrainError::Weights { path, source })?;
    notes.extend(adapted.into_iter().map(|change| {
        format!("start      {change}: the weights are for colour images, these are grey")
    }));
    let [then, here] = [&before.normalization, &now.normalization].map(in_words);
    if then != here {
        notes.push(format!(
            "start      pixels are normalised by {here}, the weights were trained with {then}"
        ));
    }
    Ok((network, notes))
}

/// A line on the parameters that are not trained.
fn frozen(config: &FineTune, network: &ShuffleNetV2) -> Option<String> {
    let parameters = parameters(network);
    let is_frozen = |name: &str| config.freeze.iter().any(|p| pattern::matches(p, name));
    let frozen = parameters
        .iter()
        .filter(|(_, name)| is_frozen(name))
        .count();
    (frozen > 0).then(|| {
        format!(
            "start      {frozen} of {} tensors are frozen, by fine_tune.freeze",
            parameters.len()
        )
    })
}

/// Mean and deviation to three digits, because those of parts of one set differ by less.
fn in_words(Normalization { mean, std }: &Normalization) -> String {
    format!("mean {mean:.3?} and deviation {std:.3?}")
}

/// Refuses colour images for weights that take grey ones. (Those for colour images adapt to grey ones.)
fn check_channels(from: &Path, before: &Description, now: &Description) -> Result<(), TrainError> {
    let [[old, ..], [new, ..]] = [before.input, now.input];
    if old == new || new == 1 {
        return Ok(());
    }
    let remedy = match now.experiment.data.format.is_encoded() {
        true => "model.input_channels = 1 removes the colours of these images",
        false => "start from weights for colour images",
    };
    Err(TrainError::Value {
        key: "model.input_channels".into(),
        found: new.to_string(),
        accepted: format!(
            "{old}, because {} was trained on grey images; {remedy}",
            from.display()
        ),
    })
}

/// A line if the stems differ and this is accepted.
fn stem(
    config: &FineTune,
    before: &Description,
    now: &Description,
) -> Result<Option<String>, TrainError> {
    let [old, new] = [before, now].map(|described| described.experiment.model.stem());
    if old == new {
        return Ok(None);
    }
    if !config.other_stem {
        return Err(TrainError::Value {
            key: "model.stem".into(),
            found: format!("\"{new}\""),
            accepted: format!(
                "\"{old}\", the stem of the weights in fine_tune.from, or fine_tune.other_stem = true"
            ),
        });
    }
    Ok(Some(format!(
        "start      the {new} stem, the weights were trained with the {old} stem"
    )))
}

/// The rows of the old classifier in the order of the new classes, and a line on them. `None`: the classes differ.
fn classifier(
    config: &FineTune,
    before: &Description,
    now: &Description,
) -> Result<(Option<Vec<usize>>, String), TrainError> {
    let (old, new) = (&before.class_names, &now.class_names);
    if before.unnamed && old.len() == new.len() {
        return unnamed_classifier(config, new);
    }
    let rows = rows_by_name(old, new);
    let note = match &rows {
        None => format!(
            "the classifier is new: its classes were {}, now they are {}",
            first_classes(old, MOST_NAMED),
            first_classes(new, MOST_NAMED)
        ),
        Some(_) if old == new => "the classifier is kept: the classes are the same".into(),
        Some(_) => {
            "the classifier is kept, in another order: the classes are the same by name".into()
        }
    };
    Ok((rows, note))
}

/// For each of the `new` classes its number among the `old` ones. `None`: the classes differ.
pub(super) fn rows_by_name(old: &[String], new: &[String]) -> Option<Vec<usize>> {
    let row = |name: &String| old.iter().position(|other| other == name);
    let rows: Option<Vec<usize>> = new.iter().map(row).collect();
    rows.filter(|_| old.len() == new.len())
}

/// The rows of a classifier without class names.
fn unnamed_classifier(
    config: &FineTune,
    new: &[String],
) -> Result<(Option<Vec<usize>>, String), TrainError> {
    if config.class_order.is_none() && orders_differ(new) {
        return Err(TrainError::Value {
            key: "fine_tune.class_order".into(),
            found: format!("unset, and the weights have no class names; the data has {}", first_classes(new, MOST_NAMED)),
            accepted: "\"bytes\" (1, 10, 2: folders in torchvision) or \"value\" (1, 2, 10), or an import with \
                       --class-names"
                .into(),
        });
    }
    let sorted = config.class_order.map(|order| order.sorted(new));
    let assumed = sorted.as_deref().unwrap_or(new);
    let note = format!(
        "the classifier is kept: the weights have no class names, their outputs are taken as {}",
        first_classes(assumed, MOST_NAMED)
    );
    Ok((rows_by_name(assumed, new), note))
}

/// `network` with the frozen parts left out of training.
///
/// # Errors
/// [`TrainError::Value`]: a pattern that matches no parameter, or no parameter left to train.
pub fn freeze(config: &FineTune, network: ShuffleNetV2) -> Result<ShuffleNetV2, TrainError> {
    let names: Vec<String> = parameters(&network)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    for pattern in &config.freeze {
        pattern::require_match("fine_tune.freeze", pattern, names.iter())?;
    }
    let is_frozen = |name: &str| config.freeze.iter().any(|p| pattern::matches(p, name));
    if names.iter().all(|name| is_frozen(name)) {
        return Err(TrainError::Value {
            key: "fine_tune.freeze".into(),
            found: format!("{:?}", config.freeze),
            accepted: "patterns that leave a parameter to train".into(),
        });
    }
    match config.freeze.is_empty() {
        true => Ok(network),
        false => Ok(network.freeze_parts(is_frozen)),
    }
}
