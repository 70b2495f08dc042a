//! Turns serde's errors into messages with the key, what was found and what is accepted.
//!
//! Configurations, `--set` and the JSON of checkpoints are all read here. serde's own messages name types of Rust
//! (`invalid type: map, expected a sequence`). Only the key and the expected kind of value are taken from them. The value
//! that was found is looked up in the input.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};
use toml::{Table, Value};

/// The longest value that a message shows, in characters.
const LONGEST: usize = 80;

/// A key or a value that was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    path: Vec<Segment>,
    /// The whole key: `model.widths[0]`. Empty: the whole input.
    pub key: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a key or its value.
#[derive(Debug)]
pub(crate) enum Fault {
    /// There is no such key. The known keys of the section.
    Unknown(Vec<String>),
    /// A key without a default is not given.
    Missing,
    /// A key is given twice.
    Repeated,
    /// The value is wrong.
    Value {
        /// The value, written as in a file.
        found: String,
        /// What is accepted.
        accepted: Accepted,
    },
    /// A refusal by one of this project's types, with its own message.
    Own(String),
}

/// The values that a key accepts.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// Whole numbers. The type does not give their range.
    Whole,
    /// Numbers. The type does not give their range.
    Number,
    /// One of several words. serde does not list them for a value that is not text.
    Word,
    /// Any text: what it stands for.
    Text(&'static str),
    /// A list of a certain length. serde does not give the length for a longer list.
    ShorterList,
    /// A description in words.
    Words(String),
}

/// The value that `table` describes.
///
/// # Errors
/// The first refusal.
pub(crate) fn from_table<T: DeserializeOwned>(table: &Table) -> Result<T, Refusal> {
    let mut whole = Value::Table(table.clone());
    let error = match serde_path_to_error::deserialize(whole.clone()) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let found = place(&mut whole, error.path()).map(|value| shown(value));
    let mut refusal = Refusal::new(error.path(), error.inner().message(), found);
    // serde names words and lengths only for values of the right type, so it is called again with such a value.
    let probe = match &refusal.fault {
        Fault::Value { accepted, .. } => match accepted {
            Accepted::Word => Some(Value::String(String::new())),
            Accepted::ShorterList => Some(Value::Array(Vec::new())),
            _ => None,
        },
        _ => None,
    };
    if let Some(Err(other)) = probe.map(|probe| with::<T>(table, &refusal, probe))
        && let Fault::Value { accepted, .. } = &mut refusal.fault
        && let Fault::Value {
            accepted: better, ..
        } = other.fault
        && other.key == refusal.key
    {
        *accepted = better;
    }
    Err(refusal)
}

/// The value that `table` describes if `value` replaces the refused value.
///
/// # Errors
/// The first refusal.
pub(crate) fn with<T: DeserializeOwned>(
    table: &Table,
    refusal: &Refusal,
    value: Value,
) -> Result<T, Refusal> {
    let mut table = table.clone();
    refusal.replace(&mut table, value);
    serde_path_to_error::deserialize(Value::Table(table))
        .map_err(|error| Refusal::new(error.path(), error.inner().message(), None))
}

/// The value in the JSON `bytes`.
///
/// # Errors
/// A message: the text is not JSON, or the first refusal.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let inner = error.inner();
        if inner.classify() != Category::Data {
            return not_json(inner);
        }
        let message = inner.to_string();
        let message = message.rsplit_once(" at line ").map_or(&*message, |m| m.0);
        let whole = serde_json::from_slice(bytes).unwrap_or_default();
        let found = place_in_json(&whole, error.path()).map(shown_json);
        Refusal::new(error.path(), message, found).to_string()
    })?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn not_json(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Eof => format!("its JSON ends early, in line {}", error.line()),
        _ => format!(
            "line {}, column {} is not JSON",
            error.line(),
            error.column()
        ),
    }
}

impl Refusal {
    /// Puts `value` in the place of the refused value.
    pub(crate) fn replace(&self, table: &mut Table, value: Value) {
        let mut whole = Value::Table(std::mem::take(table));
        if let Some(place) = place(&mut whole, &self.path) {
            *place = value;
        }
        if let Value::Table(changed) = whole {
            *table = changed;
        }
    }

    fn new(path: &Path, message: &str, found: Option<String>) -> Self {
        let (field, fault) = fault(message, found);
        let mut refusal = Self {
            path: path.iter().cloned().collect(),
            key: key(path),
            fault,
        };
        // For a missing key the path ends at its section, and for an unknown key sometimes, too.
        if let Some(field) = field.filter(|field| !ends_with(&refusal.key, field)) {
            let dot = if refusal.key.is_empty() { "" } else { "." };
            refusal.key = format!("{}{dot}{field}", refusal.key);
        }
        refusal
    }
}

/// One line: the key, what was found, what is accepted.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.fault {
            Fault::Missing => write!(f, "{key} is missing"),
            Fault::Repeated => write!(f, "{key} is given twice"),
            Fault::Unknown(known) => unknown(f, key, known),
            Fault::Value { found, accepted } => {
                write!(f, "{key} is {found}; accepted: {accepted}")
            }
            // The message of a type begins with the last part of the key.
            Fault::Own(words) => match key.rsplit_once('.') {
                Some((section, last)) if words.starts_with(last) => write!(f, "{section}.{words}"),
                _ if key.is_empty() || words.starts_with(key.as_str()) => f.write_str(words),
                _ => write!(f, "{key}: {words}"),
            },
        }
    }
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Word => "text",
            Self::Text(words) => words,
            Self::ShorterList => "a shorter list",
            Self::Words(words) => words,
        })
    }
}

/// Writes the message for an unknown key: the most similar key, if any, and all keys of the section.
fn unknown(f: &mut fmt::Formatter<'_>, key: &str, known: &[String]) -> fmt::Result {
    /// Least similarity, 0 to 1, of a key that may be a misspelling of another.
    const NEAR: f64 = 0.7;
    let (section, found) = key.rsplit_once('.').unwrap_or(("", key));
    let near = |known: &String| (strsim::jaro_winkler(found, known), known.clone());
    let nearest = known.iter().map(near).max_by(|a, b| a.0.total_cmp(&b.0));
    write!(f, "unknown key `{key}`")?;
    if let Some((_, nearest)) = nearest.filter(|(likeness, _)| *likeness >= NEAR) {
        let dot = if section.is_empty() { "" } else { "." };
        write!(f, "; did you mean `{section}{dot}{nearest}`?")?;
    }
    match known {
        [] => f.write_str(" (this section has no keys)"),
        known => write!(f, " (accepted here: {})", known.join(", ")),
    }
}

/// The key that serde's `message` names, if any, and the fault.
fn fault(message: &str, found: Option<String>) -> (Option<&str>, Fault) {
    let named = |prefix: &str| message.strip_prefix(prefix)?.split('`').next();
    let expected = message.rsplit_once(", expected ").map(|parts| parts.1);
    let quoted = || -> Vec<String> {
        let words = expected.unwrap_or_default().split('`').skip(1).step_by(2);
        words.map(String::from).collect()
    };
    let value = |accepted| Fault::Value {
        found: found.unwrap_or("another value".into()),
        accepted,
    };
    if let Some(field) = named("unknown field `") {
        (Some(field), Fault::Unknown(quoted()))
    } else if let Some(field) = named("missing field `") {
        (Some(field), Fault::Missing)
    } else if let Some(field) = named("duplicate field `") {
        (Some(field), Fault::Repeated)
    } else if message.starts_with("unknown variant `") {
        let words: Vec<String> = quoted().iter().map(|word| format!("\"{word}\"")).collect();
        (None, value(Accepted::Words(words.join(", "))))
    } else if let Some(expected) = expected.filter(|_| message.starts_with("invalid ")) {
        (None, value(accepted(expected)))
    } else {
        (None, Fault::Own(message.into()))
    }
}

/// The kind of value that serde expects, in words.
fn accepted(expected: &str) -> Accepted {
    let words = match expected {
        "usize" | "u64" | "u32" | "u16" => return Accepted::Whole,
        "f64" | "f32" => return Accepted::Number,
        "string only" => return Accepted::Word,
        "fewer elements in array" => return Accepted::ShorterList,
        "a boolean" => "true or false",
        "a string" => return Accepted::Text("text"),
        "path string" => return Accepted::Text("a path"),
        "a sequence" => "a list",
        _ if expected.starts_with("struct ") => "a section",
        _ => match expected.strip_prefix("an array of length ") {
            Some(length) => return Accepted::Words(format!("a list of {length} values")),
            None => expected,
        },
    };
    Accepted::Words(words.into())
}

/// `path` as a key: `model.widths[0]`.
fn key(path: &Path) -> String {
    match path.iter().len() {
        0 => String::new(),
        _ => path.to_string(),
    }
}

fn ends_with(key: &str, field: &str) -> bool {
    let before = key.strip_suffix(field);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The value at `path`.
fn place<'a, 'b>(
    whole: &'a mut Value,
    path: impl IntoIterator<Item = &'b Segment>,
) -> Option<&'a mut Value> {
    path.into_iter()
        .try_fold(whole, |value, segment| match segment {
            Segment::Map { key } => value.as_table_mut()?.get_mut(key),
            Segment::Seq { index } => value.as_array_mut()?.get_mut(*index),
            Segment::Enum { .. } | Segment::Unknown => Some(value),
        })
}

/// The value at `path`.
fn place_in_json<'a>(whole: &'a serde_json::Value, path: &Path) -> Option<&'a serde_json::Value> {
    path.iter().try_fold(whole, |value, segment| match segment {
        Segment::Map { key } => value.get(key),
        Segment::Seq { index } => value.get(index),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}

/// A value in one line, written as in a file.
fn shown(value: &Value) -> String {
    match value {
        Value::Table(_) => "a section".into(),
        Value::Array(_) => short(&value.to_string(), "a long list"),
        // Strings in TOML may have several lines.
        Value::String(text) => short(&format!("\"{}\"", text.escape_debug()), "a long text"),
        other => other.to_string(),
    }
}

fn shown_json(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(_) => "a section".into(),
        serde_json::Value::Array(_) => short(&value.to_string(), "a long list"),
        other => short(&other.to_string(), "a long text"),
    }
}

fn short(text: &str, long: &str) -> String {
    let fits = text.chars().count() <= LONGEST && !text.contains('\n');
    if fits { text } else { long }.into()
}

#[cfg(test)]
mod tests;
