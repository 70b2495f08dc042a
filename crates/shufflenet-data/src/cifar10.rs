//! CIFAR-10's official binary files (Krizhevsky 2009), in a folder or in the official archive.
//!
//! A record is 1 label byte, then 1,024 red, 1,024 green and 1,024 blue bytes, row after row. Five
//! training files and a test file, of 10,000 records each; smaller ones are read too, as long as the
//! training files agree in size, which is what shows one cut off between two records.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::dataset::{Dataset, ImageShape};
use crate::error::DataError;
use crate::{Split, files};

const SHAPE: ImageShape = ImageShape {
    channels: 3,
    height: 32,
    width: 32,
};
const RECORD: usize = 1 + 3 * 32 * 32;
const OFFICIAL_RECORDS: usize = 10_000;
/// A file larger than this is not CIFAR-10, and is not read to its end.
const MOST_BYTES: u64 = 100 * (OFFICIAL_RECORDS * RECORD) as u64;
const TRAIN: [&str; 5] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];
const TEST: [&str; 1] = ["test_batch.bin"];
const NAMES: &str = "batches.meta.txt";
const CLASSES: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];
const FOLDER: &str = "cifar-10-batches-bin";
const ARCHIVE: &str = "cifar-10-binary.tar.gz";

/// Reads a part of CIFAR-10 from a folder of its files, a folder around that, or the archive.
pub(crate) fn open(root: &Path, split: Split) -> Result<Dataset, DataError> {
    let wanted: &[&str] = match split {
        Split::Train => &TRAIN,
        Split::Test => &TEST,
    };
    let parts = match place(root)? {
        Place::Folder(folder) => read_folder(&folder, wanted)?,
        Place::Archive(archive) => read_archive(&archive, wanted)?,
    };
    check_sizes(&parts)?;
    let class_names = match parts.iter().find(|part| part.name == NAMES) {
        Some(part) => class_names(part)?,
        None => CLASSES.map(String::from).to_vec(),
    };
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for part in parts.iter().filter(|part| part.name != NAMES) {
        for (index, record) in part.bytes.chunks_exact(RECORD).enumerate() {
            let Some((&label, image)) = record.split_first() else {
                continue;
            };
            if usize::from(label) >= class_names.len() {
                let found = format!("label {label} in record {index}");
                let expected = format!("0 to {}", class_names.len() - 1);
                return Err(DataError::malformed(&part.path, found, expected));
            }
            labels.push(u16::from(label));
            pixels.extend_from_slice(image);
        }
    }
    Dataset::new("CIFAR-10".into(), SHAPE, class_names, pixels, labels, root)
}

enum Place {
    Folder(PathBuf),
    Archive(PathBuf),
}

/// One of the set's files: where it is, what it holds.
struct Part {
    name: &'static str,
    path: PathBuf,
    bytes: Vec<u8>,
}

fn place(root: &Path) -> Result<Place, DataError> {
    if root.is_file() {
        return Ok(Place::Archive(root.into()));
    }
    for folder in [root.to_path_buf(), root.join(FOLDER)] {
        if TRAIN
            .iter()
            .chain(&TEST)
            .any(|name| folder.join(name).exists())
        {
            return Ok(Place::Folder(folder));
        }
    }
    let archive = root.join(ARCHIVE);
    if archive.is_file() {
        return Ok(Place::Archive(archive));
    }
    Err(DataError::Missing {
        what: "CIFAR-10 (data_batch_1.bin ... or cifar-10-binary.tar.gz)".into(),
        root: root.into(),
        help: "`python3 scripts/fetch_cifar10.py` gets it into data/cifar-10-batches-bin",
    })
}

fn read_folder(folder: &Path, wanted: &[&'static str]) -> Result<Vec<Part>, DataError> {
    let read = |name: &'static str| {
        let path = folder.join(name);
        let bytes = files::read(&path, MOST_BYTES)?;
        Ok(Part { name, path, bytes })
    };
    let mut parts = wanted
        .iter()
        .map(|name| read(name))
        .collect::<Result<Vec<_>, _>>()?;
    if folder.join(NAMES).is_file() {
        parts.push(read(NAMES)?);
    }
    Ok(parts)
}

/// Reads the archive once and keeps what is wanted, whatever folder it lies in within.
fn read_archive(archive: &Path, wanted: &[&'static str]) -> Result<Vec<Part>, DataError> {
    let damaged = |error: std::io::Error| {
        DataError::malformed(
            archive,
            format!("a damaged archive ({error})"),
            "the official cifar-10-binary.tar.gz (MD5 c32a1d4ab5d03f1284b67883e8d87530)",
        )
    };
    let file = File::open(archive).map_err(|source| DataError::Io {
        file: archive.into(),
        source,
    })?;
    let mut found: HashMap<&'static str, Part> = HashMap::new();
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    for entry in tar.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let inner = entry.path().map_err(damaged)?.into_owned();
        let file_name = inner.file_name().unwrap_or_default();
        let Some(&name) = wanted
            .iter()
            .chain([&NAMES])
            .find(|name| file_name == **name)
        else {
            continue;
        };
        let mut bytes = Vec::new();
        entry
            .take(MOST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(damaged)?;
        let path = archive.join(&inner);
        found.insert(name, Part { name, path, bytes });
    }
    if let Some(missing) = wanted.iter().find(|name| !found.contains_key(*name)) {
        let found = format!("no {missing} in it");
        return Err(DataError::malformed(archive, found, "the official archive"));
    }
    let order = wanted.iter().chain([&NAMES]);
    Ok(order.filter_map(|name| found.remove(name)).collect())
}

/// Whole records in each file, and equally many in each.
fn check_sizes(parts: &[Part]) -> Result<(), DataError> {
    let mut records = None;
    for part in parts.iter().filter(|part| part.name != NAMES) {
        let size = part.bytes.len();
        if size == 0 || !size.is_multiple_of(RECORD) {
            let found = format!("{size} bytes ({:.2} records)", size as f64 / RECORD as f64);
            let expected = format!(
                "whole records of {RECORD} bytes ({} for the official file)",
                OFFICIAL_RECORDS * RECORD
            );
            return Err(DataError::malformed(&part.path, found, expected));
        }
        let count = size / RECORD;
        let first = *records.get_or_insert(count);
        if count != first {
            let found = format!("{count} records ({size} bytes)");
            let expected = format!("{first} as in the first file");
            return Err(DataError::malformed(&part.path, found, expected));
        }
    }
    Ok(())
}

fn class_names(part: &Part) -> Result<Vec<String>, DataError> {
    let names = files::names(&part.bytes);
    if names.len() == CLASSES.len() {
        return Ok(names);
    }
    let found = format!("{} class names", names.len());
    Err(DataError::malformed(&part.path, found, "10, one a line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a set of `records` records a file; labels count up.
    fn write(folder: &Path, records: usize) {
        for (file, name) in TRAIN.iter().chain(&TEST).enumerate() {
            let mut bytes = Vec::new();
            for record in 0..records {
                bytes.push((record % 10) as u8);
                bytes.extend((0..RECORD - 1).map(|i| (i + record + file) as u8));
            }
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        std::fs::write(folder.join(NAMES), CLASSES.join("\n")).unwrap();
    }

    fn refusal(folder: &Path) -> String {
        open(folder, Split::Train).unwrap_err().to_string()
    }

    #[test]
    fn records_keep_their_order_and_planes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 3);
        let train = open(folder.path(), Split::Train).unwrap();
        assert_eq!((train.len(), train.shape), (15, SHAPE));
        assert_eq!(train.labels()[..4], [0, 1, 2, 0]);
        assert_eq!(train.image(4)[..3], [2, 3, 4]);
        assert_eq!(train.class_names[9], "truck");
        assert_eq!(open(folder.path(), Split::Test).unwrap().len(), 3);
    }

    #[test]
    fn the_archive_reads_as_the_folder_does() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join(FOLDER);
        std::fs::create_dir(&folder).unwrap();
        write(&folder, 2);
        let archive = outer.path().join(ARCHIVE);
        let gz = flate2::write::GzEncoder::new(
            File::create(&archive).unwrap(),
            flate2::Compression::fast(),
        );
        let mut tar = tar::Builder::new(gz);
        tar.append_dir_all(FOLDER, &folder).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        for split in [Split::Train, Split::Test] {
            let from_folder = open(outer.path(), split).unwrap();
            let from_archive = open(&archive, split).unwrap();
            assert_eq!(from_folder.labels(), from_archive.labels());
            assert_eq!(from_folder.image(1), from_archive.image(1));
        }
        let whole = std::fs::read(&archive).unwrap();
        std::fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
        let line = open(&archive, Split::Test).unwrap_err().to_string();
        assert!(line.contains(ARCHIVE) && line.contains("damaged"), "{line}");
    }

    #[test]
    fn truncated_and_foreign_files_are_named_with_both_sizes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 3);
        let file = folder.path().join(TRAIN[2]);
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..RECORD * 3 - 5]).unwrap();
        let line = refusal(folder.path());
        assert!(
            line.contains(TRAIN[2]) && line.contains("9214 bytes"),
            "{line}"
        );
        assert!(line.contains("30730000"), "{line}");
        std::fs::write(&file, &whole[..RECORD * 2]).unwrap();
        let line = refusal(folder.path());
        assert!(
            line.contains("2 records") && line.contains("expected 3"),
            "{line}"
        );
    }

    #[test]
    fn a_label_without_a_class_is_named_with_its_record() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 2);
        let file = folder.path().join(TRAIN[4]);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[RECORD] = 17;
        std::fs::write(&file, bytes).unwrap();
        let line = refusal(folder.path());
        assert!(
            line.contains("label 17 in record 1, expected 0 to 9"),
            "{line}"
        );
    }

    #[test]
    fn a_missing_set_says_how_to_get_it() {
        let folder = tempfile::tempdir().unwrap();
        let line = refusal(folder.path());
        assert!(line.contains("python3 scripts/fetch_cifar10.py"), "{line}");
    }
}
