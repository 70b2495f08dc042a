//! A configuration's table with the overrides of the command line, and the origin of each key.
//!
//! An override is the assignment of a `--set`, `key.path=value`, or a flag for a key of the network with its value:
//! `--scale 0.5` is `model.scale=0.5`.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::ranges;
use crate::error::TrainError;
use crate::refusals::{self, Accepted, Fault, Refusal};

/// Origin of keys that neither a file nor an override has.
pub(super) const COMMAND_LINE: &str = "the command line";

/// A table with its overrides.
pub(super) struct Layers {
    table: Table,
    /// Origin of the table.
    origin: String,
    overrides: Vec<Override>,
}

/// An override that was applied.
struct Override {
    /// The key.
    key: String,
    /// The value, as it was written.
    text: String,
    /// The key that the override added or changed: a section, if the override made one.
    added: String,
    /// The override in words.
    words: String,
}

impl Layers {
    /// Applies `overrides` to `table`, which is from `origin`.
    ///
    /// # Errors
    /// [`TrainError::Config`] for an override that is not an assignment.
    pub(super) fn new(
        table: Table,
        origin: String,
        overrides: &[String],
    ) -> Result<Self, TrainError> {
        let mut layers = Self {
            table,
            origin,
            overrides: Vec::new(),
        };
        for assignment in overrides {
            let (words, key, text) = parts(assignment);
            let added = layers.assign(key.as_deref(), text);
            let added = added.map_err(|message| TrainError::Config {
                origin: words.clone(),
                message,
            })?;
            layers.overrides.push(Override {
                key: key.unwrap_or_default().trim().into(),
                text: text.trim().into(),
                added,
                words,
            });
        }
        Ok(layers)
    }

    /// The value that the table describes. `check` refuses values out of range. Its ranges are also used in the error for a
    /// value of the wrong type.
    ///
    /// # Errors
    /// [`TrainError::Config`].
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        check: impl Fn(T) -> Result<(), TrainError>,
    ) -> Result<T, TrainError> {
        let mut table = self.table.clone();
        let mut refusal = loop {
            match refusals::from_table(&table) {
                Ok(value) => return Ok(value),
                Err(refusal) => match self.text_of(&refusal) {
                    Some(text) => refusal.replace(&mut table, Value::String(text.into())),
                    None => break refusal,
                },
            }
        };
        let range = ranges::of(&table, &refusal, check);
        if let Fault::Value { accepted, .. } = &mut refusal.fault
            && let Some(range) = range
        {
            *accepted = Accepted::Words(range);
        }
        Err(TrainError::Config {
            origin: self.origin_of(&refusal.key).into(),
            message: refusal.to_string(),
        })
    }

    /// The text of the override of the refused key, if that key takes any text. So `--set name=2026-11-30` needs no quotes,
    /// although it is a date in TOML.
    fn text_of(&self, refusal: &Refusal) -> Option<&str> {
        let takes_text = matches!(
            &refusal.fault,
            Fault::Value {
                accepted: Accepted::Text(_),
                ..
            }
        );
        let mut overrides = self.overrides.iter().rev();
        let text = &overrides.find(|over| over.key == refusal.key)?.text;
        let is_list = literal(text).is_array() || literal(text).is_table();
        (takes_text && !is_list).then_some(text)
    }

    /// `refused` with the origin of its key, if it names the key and the values that the key accepts.
    pub(super) fn locate(&self, refused: TrainError) -> TrainError {
        match ranges::key_and_range(&refused) {
            Some((key, _)) => TrainError::Config {
                origin: self.origin_of(&key).into(),
                message: refused.to_string(),
            },
            None => refused,
        }
    }

    /// The origin of `key`: the last override that added or changed it, or else the table's origin.
    fn origin_of(&self, key: &str) -> &str {
        let is_within = |added: &str| {
            let rest = key.strip_prefix(added);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let mut overrides = self.overrides.iter().rev();
        let found = overrides.find(|over| is_within(&over.added));
        found.map_or(&self.origin, |over| &over.words)
    }

    /// Sets `key` to what `text` says. Returns the key that is new: a section, if it had to be made.
    fn assign(&mut self, key: Option<&str>, text: &str) -> Result<String, String> {
        let no_assignment = || "accepted: key.path=value".to_string();
        let path = key.ok_or_else(no_assignment)?.trim();
        let keys: Vec<&str> = path.split('.').collect();
        let (last, sections) = keys
            .split_last()
            .filter(|_| keys.iter().all(|key| !key.is_empty()))
            .ok_or_else(no_assignment)?;
        let mut section = &mut self.table;
        let mut added = None;
        for (depth, key) in sections.iter().enumerate() {
            if !section.contains_key(*key) {
                added = added.or_else(|| Some(keys.get(..=depth)?.join(".")));
            }
            section = section
                .entry(*key)
                .or_insert_with(|| Value::Table(Table::new()))
                .as_table_mut()
                .ok_or_else(|| format!("`{key}` is a value, not a section"))?;
        }
        section.insert((*last).into(), literal(text));
        Ok(added.unwrap_or_else(|| path.into()))
    }
}

/// The value that the last override of `path` gives it, as text. An override may set a section that has the key.
pub(super) fn value_of(overrides: &[String], path: &str) -> Option<String> {
    overrides.iter().rev().find_map(|assignment| {
        let (_, key, text) = parts(assignment);
        let within = path.strip_prefix(key?.trim())?;
        if within.is_empty() {
            return Some(text.trim().trim_matches(['"', '\'']).into());
        }
        let mut names = within.strip_prefix('.')?.split('.');
        let value = names.try_fold(literal(text), |value, name| value.get(name).cloned())?;
        Some(match value {
            Value::String(text) => text,
            other => other.to_string(),
        })
    })
}

/// An override in words, its key (if it has one) and its value.
fn parts(assignment: &str) -> (String, Option<String>, &str) {
    if let Some((flag, text)) = assignment
        .strip_prefix("--")
        .and_then(|flag| flag.split_once(' '))
    {
        return (assignment.into(), Some(format!("model.{flag}")), text);
    }
    let words = format!("--set {assignment}");
    match assignment.split_once('=') {
        Some((key, text)) => (words, Some(key.into()), text),
        None => (words, None, ""),
    }
}

/// A TOML value. Text that is not TOML is a string, so that `--set data.root=data/mine` needs no quotes.
fn literal(text: &str) -> Value {
    let value = match format!("value = {text}").parse::<Table>() {
        Ok(mut parsed) if parsed.len() == 1 => parsed.remove("value"),
        _ => None,
    };
    value.unwrap_or_else(|| Value::String(text.into()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn the_value_of_a_key_may_be_in_an_override_of_its_section() {
        let overrides = [
            "train.seed=1",
            "train={seed=5, more={deep=\"x\"}}",
            "name='a'",
        ];
        let overrides = overrides.map(String::from);
        for (path, value) in [
            ("train.seed", Some("5")),
            ("train.more.deep", Some("x")),
            ("name", Some("a")),
            ("train.epochs", None),
            ("trains", None),
        ] {
            assert_eq!(value_of(&overrides, path).as_deref(), value, "{path}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        #[serde(default, rename = "model")]
        _model: Section,
        #[serde(rename = "more")]
        _more: Option<Needy>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Section {
        scale: f64,
        count: usize,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "the fields are only read into")]
    struct Needy {
        needed: usize,
        #[serde(default)]
        other: usize,
    }

    fn refusal(file: &str, overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        let table = file.parse().unwrap();
        let layers = Layers::new(table, "trial.toml".into(), &overrides);
        let read = layers.and_then(|layers| layers.read(|_: Whole| Ok(())));
        read.unwrap_err().to_string()
    }

    #[test]
    fn text_that_is_toml_needs_no_quotes() {
        #[derive(Deserialize)]
        struct Texts {
            name: String,
            root: std::path::PathBuf,
        }
        let read = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            let layers = Layers::new(Table::new(), "trial.toml".into(), &overrides)?;
            layers.read(|_: Texts| Ok(()))
        };
        let texts = read(&["name=2026-11-30", "root= 2024"]).unwrap();
        assert_eq!(
            (&*texts.name, texts.root.to_str()),
            ("2026-11-30", Some("2024"))
        );
        let line = read(&["name=[1]", "root=x"]).err().unwrap().to_string();
        assert_eq!(line, "--set name=[1]: name is [1]; accepted: text");
    }

    #[test]
    fn a_refusal_begins_with_the_origin_of_the_key() {
        for (file, overrides, line) in [
            (
                "model.scale = 'x'",
                &["model.count=3"][..],
                "trial.toml: model.scale is \"x\"; accepted: a number",
            ),
            (
                "model.scale = 1.0",
                &["model.scale=x", "model.count=3"],
                "--set model.scale=x: model.scale is \"x\"; accepted: a number",
            ),
            (
                "model.scale = 1.0",
                &["model={scale=x}", "model={scale=true}"],
                "--set model={scale=true}: model.scale is true; accepted: a number",
            ),
            (
                "",
                &["--scale x"],
                "--scale x: model.scale is \"x\"; accepted: a number",
            ),
            (
                "",
                &["modle.scale=1"],
                "--set modle.scale=1: unknown key `modle`; did you mean `model`? (accepted here: model, more)",
            ),
            // The override made the section.
            (
                "",
                &["more.other=1"],
                "--set more.other=1: more.needed is missing",
            ),
            (
                "more = {}",
                &["more.other=1"],
                "trial.toml: more.needed is missing",
            ),
        ] {
            assert_eq!(refusal(file, overrides), line);
        }
    }

    #[test]
    fn an_override_that_is_not_an_assignment_is_refused() {
        for bad in ["train.epochs", "=3", "train..epochs=3", "--x"] {
            let line = refusal("", &[bad]);
            assert_eq!(line, format!("--set {bad}: accepted: key.path=value"));
        }
        let line = refusal("model.scale = 1.0", &["model.scale.x=1"]);
        assert_eq!(
            line,
            "--set model.scale.x=1: `scale` is a value, not a section"
        );
    }
}
