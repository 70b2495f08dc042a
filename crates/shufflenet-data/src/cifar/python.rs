//! CIFAR's Python version. Each file has a pickled dictionary. `data` is a NumPy array with a row of 3,072 bytes
//! for each image, in the order of the binary version, and `labels` is a list of integers. Another dictionary has
//! the names of the classes.
//!
//! A pickle is a program; [`shufflenet_pickle`] reads it as values and executes nothing.

use shufflenet_pickle::{Id, Pickle};

use super::{Loaded, PIXELS};
use crate::DataError;

/// The largest number of bytes in a file for each of its records: pixels, labels, the name of a file.
pub(super) const MOST_PER_RECORD: usize = PIXELS + 512;

/// The files of a set, and the keys that are read from them.
pub(super) struct Python {
    pub train: &'static [&'static str],
    pub test: &'static [&'static str],
    /// File with the names of the classes.
    pub names: &'static str,
    pub folder: &'static str,
    pub archive: &'static str,
    labels: &'static str,
    label_names: &'static str,
}

pub(super) const TEN: Python = Python {
    train: &[
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
    ],
    test: &["test_batch"],
    names: "batches.meta",
    folder: "cifar-10-batches-py",
    archive: "cifar-10-python.tar.gz",
    labels: "labels",
    label_names: "label_names",
};

pub(super) const HUNDRED_FINE: Python = Python {
    train: &["train"],
    test: &["test"],
    names: "meta",
    folder: "cifar-100-python",
    archive: "cifar-100-python.tar.gz",
    labels: "fine_labels",
    label_names: "fine_label_names",
};

pub(super) const HUNDRED_COARSE: Python = Python {
    labels: "coarse_labels",
    label_names: "coarse_label_names",
    ..HUNDRED_FINE
};

impl Python {
    /// The records of a file in the binary version, with the label in byte `label` of `label_bytes`.
    pub(super) fn records(
        &self,
        file: &Loaded,
        label_bytes: usize,
        label: usize,
    ) -> Result<Loaded, DataError> {
        let pickle = read(file)?;
        let data = entry(&pickle, file, "data")?;
        let expected = format!("a NumPy array of bytes (uint8, `u1`), {PIXELS} a row, row by row");
        let Some(array) = pickle.array(data) else {
            return Err(content(file, "`data` of another type", expected));
        };
        let rows = match array.shape[..] {
            [rows, PIXELS] if array.kind == "u1" && !array.by_columns => rows,
            _ => {
                let sides: Vec<String> = array.shape.iter().map(usize::to_string).collect();
                let (sides, kind) = (sides.join("x"), &array.kind);
                let order = if array.by_columns {
                    ", column by column"
                } else {
                    ""
                };
                let found = format!("`data` of shape {sides} and type `{kind}`{order}");
                return Err(content(file, found, expected));
            }
        };
        if rows == 0 || Some(array.bytes.len()) != rows.checked_mul(PIXELS) {
            let found = format!("{} bytes for {rows} rows of `data`", array.bytes.len());
            return Err(content(
                file,
                found,
                format!("{PIXELS} a row, 1 row or more"),
            ));
        }
        let labels = pickle.items(entry(&pickle, file, self.labels)?);
        let labels = labels.unwrap_or_default();
        if labels.len() != rows {
            let found = format!("{} labels for {rows} images", labels.len());
            return Err(content(
                file,
                found,
                format!("as many integers in `{}`", self.labels),
            ));
        }
        let mut bytes = Vec::with_capacity(rows * (label_bytes + PIXELS));
        for (record, (row, &id)) in array.bytes.chunks_exact(PIXELS).zip(labels).enumerate() {
            let value = pickle.int(id).and_then(|value| u8::try_from(value).ok());
            let Some(value) = value else {
                let found = match pickle.int(id) {
                    Some(label) => format!("label {label} in record {record}"),
                    None => format!("a label that is not a whole number in record {record}"),
                };
                return Err(content(file, found, "the number of a class, 0 to 255"));
            };
            bytes.extend((0..label_bytes).map(|byte| if byte == label { value } else { 0 }));
            bytes.extend_from_slice(row);
        }
        let path = file.path.clone();
        Ok(Loaded { path, bytes })
    }

    /// The names of the classes, one per line.
    pub(super) fn class_names(&self, file: &Loaded) -> Result<Loaded, DataError> {
        let pickle = read(file)?;
        let names = pickle.items(entry(&pickle, file, self.label_names)?);
        let names = names.unwrap_or_default().iter();
        let names: Option<Vec<&str>> = names.map(|&name| pickle.text(name)).collect();
        let names = names.filter(|names| names.iter().all(|name| !name.contains('\n')));
        let Some(names) = names else {
            let found = format!("`{}` with other values than names", self.label_names);
            return Err(content(file, found, "the names of the classes"));
        };
        let (path, bytes) = (file.path.clone(), names.join("\n").into_bytes());
        Ok(Loaded { path, bytes })
    }
}

fn read(file: &Loaded) -> Result<Pickle<'_>, DataError> {
    let expected = "a pickle of CIFAR's Python version";
    Pickle::read(&file.bytes).map_err(|error| content(file, error.to_string(), expected))
}

fn entry(pickle: &Pickle, file: &Loaded, key: &str) -> Result<Id, DataError> {
    let found = pickle.entry(pickle.root(), key);
    found.ok_or_else(|| {
        let expected = "a pickle of CIFAR's Python version";
        content(file, format!("no `{key}`"), expected)
    })
}

fn content(file: &Loaded, found: impl Into<String>, expected: impl Into<String>) -> DataError {
    DataError::content(&file.path, found, expected)
}
