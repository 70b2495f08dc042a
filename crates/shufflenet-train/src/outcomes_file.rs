//! What an evaluation said of each image, as a CSV file.

use std::path::Path;

use crate::error::TrainError;
use crate::evaluate::Evaluated;
use crate::files::write_new;

/// Writes a row an image to the new file `path`: its name, its class, the predicted class and how likely
/// that was, how likely its own was and how many were held likelier, its loss.
///
/// # Errors
/// [`TrainError::Io`], also where `path` exists.
pub fn write(path: &Path, evaluated: &Evaluated) -> Result<(), TrainError> {
    let dataset = evaluated.loader.dataset();
    let name = |class: usize| dataset.class_names.get(class).map_or("?", String::as_str);
    let mut text =
        String::from("image,label,predicted,correct,probability,own_probability,rank,loss\n");
    for (&record, outcome) in evaluated.loader.indices().iter().zip(&evaluated.outcomes) {
        let row = [
            quoted(&dataset.record_name(record as usize)),
            quoted(name(outcome.label)),
            quoted(name(outcome.predicted)),
            outcome.is_right().to_string(),
            format!("{:.6}", outcome.probability),
            format!("{:.6}", outcome.own),
            (outcome.rank + 1).to_string(),
            format!("{:.6}", outcome.loss),
        ];
        text.push_str(&row.join(","));
        text.push('\n');
    }
    write_new(path, text.as_bytes())
}

/// A field as RFC 4180 has it.
pub fn quoted(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_commas_and_quotes_stay_one_field() {
        assert_eq!(quoted("a/b.png"), "a/b.png");
        assert_eq!(quoted("cat, \"tabby\""), "\"cat, \"\"tabby\"\"\"");
    }
}
