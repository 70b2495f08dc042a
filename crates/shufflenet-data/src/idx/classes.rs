//! The classes of a set: the names in `classes.txt`, one per line, or else the numbers of the training labels.
//!
//! Numbers need not begin with 0 (EMNIST's letters are 1 to 26). The classes are in the order of their numbers.

use std::io;
use std::path::Path;

use crate::dataset::class_names;
use crate::{DataError, text};

pub(super) const NAMES: &str = "classes.txt";

/// Classes in order, with the number that stands for each in a file.
pub(super) struct Classes {
    pub names: Vec<String>,
    /// The number of the first class, if a file names the classes. The classes are numbered in its order.
    first: Option<usize>,
    numbers: Vec<u8>,
}

impl Classes {
    /// The classes of the set in the folder `root`, whose training images have `labels`.
    pub(super) fn of(root: &Path, labels: &[u8]) -> Result<Self, DataError> {
        let mut numbers = labels.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        let path = root.join(NAMES);
        let text = match text::read(&path) {
            Ok(text) => text,
            Err(DataError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    names: numbers.iter().map(u8::to_string).collect(),
                    first: None,
                    numbers,
                });
            }
            Err(error) => return Err(error),
        };
        let names = class_names(&text);
        if names.is_empty() {
            return Err(DataError::content(&path, "no names", "one per line"));
        }
        let counts_from_one = numbers.first() != Some(&0)
            && numbers
                .last()
                .is_some_and(|&last| usize::from(last) == names.len());
        let first = usize::from(counts_from_one);
        Ok(Self {
            numbers: (first..first + names.len())
                .map_while(|n| u8::try_from(n).ok())
                .collect(),
            names,
            first: Some(first),
        })
    }

    /// The classes of `labels`, which are from the file at `path`.
    pub(super) fn labels(&self, path: &Path, labels: &[u8]) -> Result<Vec<u16>, DataError> {
        let mut classes = [None; 256];
        for (class, &number) in (0..).zip(&self.numbers) {
            classes[usize::from(number)] = Some(class);
        }
        let class = |(record, &label): (usize, &u8)| {
            classes[usize::from(label)].ok_or_else(|| {
                let expected = match self.first {
                    Some(first) => {
                        let last = first + self.names.len() - 1;
                        format!("{first} to {last} ({NAMES} names the classes)")
                    }
                    None => format!("a label of training: {}", self.names.join(", ")),
                };
                let found = format!("label {label} in record {record}");
                DataError::content(path, found, expected)
            })
        };
        labels.iter().enumerate().map(class).collect()
    }
}
