//! Finds the files of a set under the names that publishers and tools give them.
//!
//! MNIST's files are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same with `t10k`, plain or `.gz`. Some
//! tools unpack them as `train-images.idx3-ubyte`, and some sets use `test` instead of `t10k`. EMNIST has a prefix, as in
//! `emnist-letters-train-images-idx3-ubyte`, so a folder may hold several sets.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::paths::problem;
use crate::{DataError, Split};

pub(super) const ADVICE: &str = "a set is the four files train-images-idx3-ubyte, \
    train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, each plain or .gz; one is \
    bundled in data/fashion-mnist-small";

const BUNDLED: &str = "a set of this format is bundled in data/fashion-mnist-small";

/// A kind of file: the word before the name of its format, and the format.
#[derive(Clone, Copy)]
pub(super) struct Kind(&'static str, &'static str);

pub(super) const IMAGES: Kind = Kind("images", "idx3-ubyte");
pub(super) const LABELS: Kind = Kind("labels", "idx1-ubyte");

/// The set of a folder: the only one, or the one that `prefix` names.
pub(super) struct Files<'a> {
    root: &'a Path,
    names: Vec<String>,
    prefix: String,
}

impl<'a> Files<'a> {
    pub(super) fn of(root: &'a Path, wanted: Option<&str>) -> Result<Self, DataError> {
        if !root.is_dir() {
            let advice = if root.exists() { ADVICE } else { BUNDLED };
            return Err(DataError::missing(root, problem(root, "folder"), advice));
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(root).map_err(|error| DataError::io(root, error))? {
            let name = entry
                .map_err(|error| DataError::io(root, error))?
                .file_name();
            names.extend(name.into_string());
        }
        let both = [Split::Train, Split::Test];
        let found = both.map(|split| by_prefix(&names, split, IMAGES));
        let mut prefixes: Vec<&str> = found
            .iter()
            .flat_map(|found| found.keys().copied())
            .collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let prefix = match (wanted, prefixes.as_slice()) {
            (Some(wanted), found) if found.contains(&wanted) => wanted,
            (None, []) => "",
            (None, [only]) => *only,
            (wanted, found) => {
                let found: Vec<String> = found.iter().map(|prefix| format!("{prefix:?}")).collect();
                let expected = match wanted {
                    Some(wanted) => format!("{wanted:?}, which data.options.prefix names"),
                    None => "one, or data.options.prefix with the name of one".into(),
                };
                let found = match found.as_slice() {
                    [] => "no files of a set".into(),
                    found => format!("files of the sets {}", found.join(", ")),
                };
                return Err(DataError::content(root, found, expected));
            }
        };
        let prefix = prefix.to_string();
        Ok(Self {
            root,
            names,
            prefix,
        })
    }

    /// The file of `kind` of `split`.
    pub(super) fn path(&self, split: Split, kind: Kind) -> Result<PathBuf, DataError> {
        self.find(split, kind).ok_or_else(|| {
            let usual = match split {
                Split::Train => "train",
                _ => "t10k",
            };
            let dash = if self.prefix.is_empty() { "" } else { "-" };
            let name = format!("{}{dash}{usual}-{}-{}", self.prefix, kind.0, kind.1);
            DataError::missing(
                &self.root.join(name),
                "does not exist, nor with .gz",
                ADVICE,
            )
        })
    }

    /// The file of `kind` of `split`, if there is one.
    pub(super) fn find(&self, split: Split, kind: Kind) -> Option<PathBuf> {
        let found = by_prefix(&self.names, split, kind);
        found
            .get(self.prefix.as_str())
            .map(|name| self.root.join(name))
    }
}

/// The files of `kind` of `split`, by the prefix before their usual names. A plain file takes precedence over a
/// gzipped file.
fn by_prefix(names: &[String], split: Split, kind: Kind) -> BTreeMap<&str, &str> {
    let words: &[&str] = match split {
        Split::Train => &["train"],
        _ => &["t10k", "test"],
    };
    let mut found = BTreeMap::new();
    for zipped in ["", ".gz"] {
        for word in words {
            for dot in ["-", "."] {
                let ending = format!("{word}-{}{dot}{}{zipped}", kind.0, kind.1);
                for name in names {
                    let before = name.strip_suffix(ending.as_str());
                    let prefix = before.and_then(|before| match before {
                        "" => Some(""),
                        _ => before.strip_suffix('-'),
                    });
                    if let Some(prefix) = prefix {
                        found.entry(prefix).or_insert(name.as_str());
                    }
                }
            }
        }
    }
    found
}
