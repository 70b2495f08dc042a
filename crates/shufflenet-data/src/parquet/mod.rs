//! Hugging Face's parquet files with embedded images: `train-*.parquet`, `validation-*.parquet` (or `val`, `valid`) and
//! `test-*.parquet`, in the root or in its folder `data/`. Files without these words have no division.
//!
//! A row has an image in a column `image` or `img`, as a struct with `bytes` or as the bytes themselves,
//! and a whole number in a column `label`. The class names are in the metadata under `huggingface`; without
//! them the classes are numbers. The images stay encoded in memory and are decoded only when needed.

mod guard;
mod thrift;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

use crate::encoded::Encoded;
use crate::format::Reader;
use crate::holdout::division;
use crate::{DataError, Dataset, Options, Split};

const ADVICE: &str =
    "a set is train-*.parquet and test-*.parquet, with the columns image (or img) and label";
const COLUMNS: &str =
    "a column image (or img) with an image's bytes, and a column label of whole numbers from 0";

/// The format `parquet`.
pub(crate) struct Parquet;

impl Reader for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn is_encoded(&self) -> bool {
        true
    }

    fn recognises(&self, root: &Path) -> bool {
        files(root).is_ok()
    }

    fn parts(&self, root: &Path) -> Result<Vec<Split>, DataError> {
        let files = files(root)?;
        let all = [Split::Train, Split::Validation, Split::Test];
        let has = |split: &Split| files.iter().any(|file| split_of(file) == Some(*split));
        Ok(all.into_iter().filter(has).collect())
    }

    fn open(&self, root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
        let mut files = files(root)?;
        let is_divided = files.iter().any(|file| split_of(file).is_some());
        if is_divided {
            files.retain(|file| split_of(file) == Some(split));
        }
        if files.is_empty() {
            let problem = format!("has no files of the {split} part");
            return Err(DataError::missing(root, problem, ADVICE));
        }
        let (mut records, mut labels, mut names) = (Vec::new(), Vec::new(), None);
        for path in files {
            let file = File::open(&path).map_err(|error| DataError::io(&path, error))?;
            let part = read(&path, file)?;
            names = names.or(part.names);
            for (row, (bytes, label)) in part.rows.into_iter().enumerate() {
                let file = path.strip_prefix(root).unwrap_or(&path);
                let name = format!("{}: row {row}", file.display());
                let size = bytes.len() as u64;
                records.push(Encoded {
                    name: name.into(),
                    size,
                    bytes: Some(bytes),
                });
                labels.push(label);
            }
        }
        let names = names.unwrap_or_else(|| {
            let classes = labels.iter().max().map_or(0, |&last| usize::from(last) + 1);
            (0..classes).map(|class| class.to_string()).collect()
        });
        if is_divided {
            return Dataset::of_encoded(root, names, records, labels, options);
        }
        let chosen = division(root, &labels, &names, split, options)?;
        let mut set = Dataset::of_encoded(root, names, records, labels, options)?;
        set.retain(|record| chosen.binary_search(&(record as u32)).is_ok())?;
        Ok(set)
    }
}

/// All parquet files of the set at `root`, in order.
fn files(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    for folder in [root.to_path_buf(), root.join("data")] {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let is_one = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "parquet");
        let mut found: Vec<PathBuf> = paths.filter(is_one).collect();
        found.sort();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(DataError::missing(root, "has no such files", ADVICE))
}

/// The part that the first word of a file's name stands for.
fn split_of(path: &Path) -> Option<Split> {
    let name = path.file_stem()?.to_string_lossy();
    let word = name.split(|letter: char| !letter.is_alphabetic()).next()?;
    Split::named(word)
}

struct Part {
    rows: Vec<(Vec<u8>, u16)>,
    names: Option<Vec<String>>,
}

/// All rows of a file. The library panics at some kinds of damage; that panic becomes an error here.
fn read(path: &Path, file: File) -> Result<Part, DataError> {
    let length = file
        .metadata()
        .map_err(|error| DataError::io(path, error))?
        .len();
    let read = || {
        let damaged = |error: parquet::errors::ParquetError| {
            let found = format!("a damaged parquet file ({error})");
            DataError::content(path, found, "a whole one")
        };
        let fault = |fault: &str| {
            let found = format!("a damaged parquet file ({fault})");
            Err(DataError::content(path, found, "a whole one"))
        };
        if !guard::is_described(&file, length).map_err(|error| DataError::io(path, error))? {
            return fault("its metadata is cut off or damaged");
        }
        let columns = file
            .try_clone()
            .map_err(|error| DataError::io(path, error))?;
        let reader = SerializedFileReader::new(file).map_err(damaged)?;
        if let Some(found) = guard::fault(&columns, &reader, length).map_err(damaged)? {
            return fault(found);
        }
        let metadata = reader.metadata().file_metadata().key_value_metadata();
        let described = metadata
            .into_iter()
            .flatten()
            .find(|pair| pair.key == "huggingface");
        let names = described.and_then(|pair| class_names(pair.value.as_deref()?));
        let mut rows = Vec::new();
        for (number, row) in reader.get_row_iter(None).map_err(damaged)?.enumerate() {
            let row = row.map_err(damaged)?;
            let found = image_and_label(&row).map_err(|fault| {
                DataError::content(path, format!("row {number} with {fault}"), COLUMNS)
            })?;
            rows.push(found);
        }
        Ok(Part { rows, names })
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(DataError::content(
            path,
            "a damaged parquet file",
            "a whole one",
        ))
    })
}

/// Reads a file with the content `bytes`, for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn fuzz_file(bytes: &[u8]) {
    use std::io::Write;
    let Ok(mut file) = tempfile::tempfile() else {
        return;
    };
    if file.write_all(bytes).is_ok() {
        let _ = read(Path::new("file"), file);
    }
}

/// The bytes of a row's image and its label, or what the row has in their place, in words.
fn image_and_label(row: &Row) -> Result<(Vec<u8>, u16), String> {
    let column = |wanted: &[&str]| {
        let mut columns = row.get_column_iter();
        let found = columns.find(|(name, _)| wanted.contains(&name.as_str()));
        found.map(|(_, field)| field)
    };
    let image = match column(&["image", "img"]).ok_or("no image")? {
        Field::Group(group) => {
            let mut fields = group.get_column_iter();
            let bytes = fields.find(|(name, _)| *name == "bytes");
            bytes.ok_or("an image without bytes")?.1
        }
        field => field,
    };
    let Field::Bytes(bytes) = image else {
        return Err("an image without bytes".into());
    };
    let label = column(&["label"]).ok_or("no label")?;
    let number = match *label {
        Field::Long(label) => u16::try_from(label).ok(),
        Field::Int(label) => u16::try_from(label).ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| format!("the label {label}"))?;
    Ok((bytes.data().to_vec(), number))
}

/// The class names in JSON of the form `{"info": {"features": {"label": {"names": [...]}}}}`.
fn class_names(json: &str) -> Option<Vec<String>> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let names = value.pointer("/info/features/label/names")?.as_array()?;
    names
        .iter()
        .map(|name| name.as_str().map(String::from))
        .collect()
}
