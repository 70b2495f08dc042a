//! The text of a list: CSV or JSONL.

use std::path::Path;

use serde::Deserialize;

use crate::{DataError, text};

const LIST: &str =
    "a .csv with the columns path, label and perhaps split, or a .jsonl with those keys";

/// An entry of the list.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    #[serde(alias = "file_name")]
    pub path: String,
    #[serde(deserialize_with = "text_or_number")]
    pub label: String,
    #[serde(default)]
    pub split: Option<String>,
    /// Number of the line, from 1.
    #[serde(skip)]
    pub line: usize,
}

/// Reads a label. JSON labels may be whole numbers; in both kinds of list a label is a name.
fn text_or_number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(text) => Ok(text.trim().into()),
        serde_json::Value::Number(number) if number.is_u64() || number.is_i64() => {
            Ok(number.to_string())
        }
        other => {
            let message = format!("label {other} is neither text nor a whole number");
            Err(serde::de::Error::custom(message))
        }
    }
}

/// The entries of a list: JSON if the list begins with a brace, otherwise CSV.
///
/// # Errors
/// [`DataError::Content`] with the number of the line.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, DataError> {
    let text = text::decode(bytes).map_err(|found| DataError::content(path, found, LIST))?;
    let entries = match text.trim_start().starts_with('{') {
        true => json(text),
        false => csv(text),
    };
    let empty = |entry: &Entry| entry.path.is_empty() || entry.label.is_empty();
    let checked = entries.and_then(|entries| match entries.iter().find(|entry| empty(entry)) {
        Some(entry) => Err((entry.line, "an empty path or label".into())),
        None if entries.is_empty() => Err((1, "no entries".into())),
        None => Ok(entries),
    });
    checked.map_err(|(line, problem)| {
        DataError::content(path, format!("line {line}: {problem}"), LIST)
    })
}

/// The number of a line and what is wrong with it.
type Fault = (usize, String);

fn json(text: &str) -> Result<Vec<Entry>, Fault> {
    let lines = (1usize..).zip(text.lines());
    let filled = lines.filter(|(_, text)| !text.trim().is_empty());
    let entry = |(line, text): (usize, &str)| {
        let entry: Entry = serde_json::from_str(text).map_err(|error| {
            // The parser sees one line alone, and its own number says nothing.
            let words = error.to_string();
            let words = words.split(" at line ").next().unwrap_or_default();
            (line, words.to_string())
        })?;
        Ok(Entry {
            path: entry.path.trim().into(),
            line,
            ..entry
        })
    };
    filled.map(entry).collect()
}

fn csv(text: &str) -> Result<Vec<Entry>, Fault> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let headers = reader
        .headers()
        .map_err(|error| (1, error.to_string()))?
        .clone();
    let column = |names: &[&str]| {
        let mut places = (0..headers.len()).filter(|&at| {
            let header = headers.get(at).unwrap_or_default().to_lowercase();
            names.contains(&header.as_str())
        });
        match (places.next(), places.next()) {
            (_, Some(_)) => Err((1, format!("two columns {}", names.join(" or ")))),
            (place, None) => Ok(place),
        }
    };
    let missing = |name: &str| (1, no_column(name, &headers));
    let path_at = column(&["path", "file_name"])?.ok_or_else(|| missing("path"))?;
    let label_at = column(&["label"])?.ok_or_else(|| missing("label"))?;
    let split_at = column(&["split"])?;
    let mut lines = Lines::of(text);
    let mut entries = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| {
            let line = error.position().map_or(1, |place| lines.at(place.byte()));
            (line, error.to_string())
        })?;
        let line = row.position().map_or(1, |place| lines.at(place.byte()));
        let field = |at: usize| row.get(at).unwrap_or_default().to_string();
        entries.push(Entry {
            path: field(path_at),
            label: field(label_at),
            split: split_at.map(field),
            line,
        });
    }
    Ok(entries)
}

/// Counts lines up to a byte. The parser's own count is wrong where lines end in CRLF, and after blank lines.
struct Lines<'a> {
    text: &'a [u8],
    byte: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            byte: 0,
            line: 1,
        }
    }

    /// The line of the first character at or after `byte` that ends no line. Bytes must ascend from call to call.
    fn at(&mut self, byte: u64) -> usize {
        while let Some(&letter) = self.text.get(self.byte) {
            let is_end = matches!(letter, b'\r' | b'\n');
            if self.byte as u64 >= byte && !is_end {
                break;
            }
            self.line += usize::from(letter == b'\n');
            self.byte += 1;
        }
        self.line
    }
}

/// Says which columns there are in place of the column `name`.
fn no_column(name: &str, headers: &csv::StringRecord) -> String {
    let found: Vec<&str> = headers.iter().collect();
    let hint = match found.as_slice() {
        [] | [""] => return format!("no column {name}"),
        [one] if one.contains(';') => "; columns are separated by commas, not semicolons",
        [one] if one.contains('\t') => "; columns are separated by commas, not tabs",
        _ => "",
    };
    format!(
        "no column {name}, the columns are: {}{hint}",
        found.join(", ")
    )
}
