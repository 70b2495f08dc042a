//! The prediction for each image of an evaluation, as a CSV file.

use std::path::Path;

use crate::error::TrainError;
use crate::evaluation::Evaluated;
use crate::files::{csv_row, write_new};

/// Writes one row per image to the new file `path`: name, class, predicted class, whether it is right, probabilities of
/// the predicted class and of the image's class, rank of the image's class, loss.
///
/// # Errors
/// [`TrainError::Io`], also if `path` exists.
pub fn write(path: &Path, evaluated: &Evaluated) -> Result<(), TrainError> {
    let dataset = evaluated.loader.dataset();
    let name = |class: usize| dataset.class_names.get(class).map_or("?", String::as_str);
    let mut text = csv_row([
        "image",
        "label",
        "predicted",
        "correct",
        "probability",
        "own_probability",
        "rank",
        "loss",
    ]);
    for (&record, outcome) in evaluated.loader.indices().iter().zip(&evaluated.outcomes) {
        text += &csv_row([
            dataset.record_name(record as usize),
            name(outcome.label).into(),
            name(outcome.predicted).into(),
            outcome.is_right().to_string(),
            format!("{:.6}", outcome.probability),
            format!("{:.6}", outcome.own),
            (outcome.rank + 1).to_string(),
            format!("{:.6}", outcome.loss),
        ]);
    }
    write_new(path, text.as_bytes())
}
