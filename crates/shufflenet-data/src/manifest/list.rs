//! The text of a list: CSV or JSONL.

use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;
use serde_json::error::Category;

use crate::words::counted;
use crate::{DataError, text};

const LIST: &str =
    "a .csv with the columns path, label and optionally split, or a .jsonl with those keys";

/// An entry of the list.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Entry {
    #[serde(alias = "file_name", deserialize_with = "path")]
    pub path: String,
    #[serde(deserialize_with = "label")]
    pub label: String,
    #[serde(default, deserialize_with = "split")]
    pub split: Option<String>,
    /// Number of the line, from 1.
    #[serde(skip)]
    pub line: usize,
}

fn path<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => Ok(text.trim().into()),
        other => Err(D::Error::custom(format!("path {other} is not text"))),
    }
}

/// JSON labels may be whole numbers; in both kinds of list a label is a name.
fn label<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => Ok(text.trim().into()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Ok(number.to_string()),
        other => {
            let message = format!("label {other} is neither text nor a whole number");
            Err(D::Error::custom(message))
        }
    }
}

fn split<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        other => Err(D::Error::custom(format!("split {other} is not text"))),
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
        let entry: Entry = serde_json::from_str(text).map_err(|error| (line, in_words(&error)))?;
        Ok(Entry { line, ..entry })
    };
    filled.map(entry).collect()
}

/// What is wrong with a line of JSON.
fn in_words(error: &serde_json::Error) -> String {
    if error.classify() != Category::Data {
        return format!("not JSON, from column {} on", error.column());
    }
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    let key = |prefix: &str| words.strip_prefix(prefix)?.strip_suffix('`');
    if let Some(key) = key("missing field `") {
        format!("no {key}")
    } else if let Some(key) = key("duplicate field `") {
        format!("{key} is given twice")
    } else if words.starts_with("invalid type") {
        "JSON without keys".into()
    } else {
        words.into()
    }
}

fn csv(text: &str) -> Result<Vec<Entry>, Fault> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let headers = reader
        .headers()
        .map_err(|error| (1, of_csv(&error)))?
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
            (line, of_csv(&error))
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

/// What is wrong with a line of CSV.
fn of_csv(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!(
            "{}, and the first line has {expected_len}",
            counted(*len as usize, "column")
        ),
        _ => error.to_string(),
    }
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

    /// The line of the first character at or after `byte` that is not the end of a line. `byte` must not decrease from call
    /// to call.
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

/// The message for a missing column `name`, with the columns that the list has.
fn no_column(name: &str, headers: &csv::StringRecord) -> String {
    let found: Vec<&str> = headers.iter().collect();
    let hint = match found.as_slice() {
        [] | [""] => return format!("no column {name}"),
        // Neither is a column of that name.
        [first, ..] if first.starts_with('[') => {
            return "a JSON array, and in a .jsonl each line is an object of its own".into();
        }
        [one] if one.contains(';') => "; columns are separated by commas, not semicolons",
        [one] if one.contains('\t') => "; columns are separated by commas, not tabs",
        _ => "",
    };
    format!(
        "no column {name}, the columns are: {}{hint}",
        found.join(", ")
    )
}
