//! CIFAR-10's official binary files (Krizhevsky 2009).
//!
//! A record is one byte of label and 3 x 1024 bytes of pixels: the red plane, the green, the blue,
//! each row by row. Five files hold the training records, one the test records, 10,000 in each of the
//! official set; `batches.meta.txt` names the classes. They are read from their folder or straight
//! from the official `.tar.gz`. Smaller sets in the same files are fine, but the five must be equally
//! long: that is how a file cut between two records is found.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::dataset::{class_names, first_foreign_label, name_of};
use crate::{DataError, Dataset, ImageShape, Split};

const SHAPE: ImageShape = ImageShape {
    channels: 3,
    height: 32,
    width: 32,
};
const CLASSES: usize = 10;
const RECORD: usize = 1 + 3 * 32 * 32;
/// Size of an official file, and the most that is read.
const OFFICIAL: u64 = 10_000 * RECORD as u64;
/// The most that an archive may unpack to; the official one is 184 MB.
const UNPACKED: u64 = 1 << 30;

const TRAIN: [&str; 5] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];
const TEST: [&str; 1] = ["test_batch.bin"];
const NAMES: &str = "batches.meta.txt";
const FOLDER: &str = "cifar-10-batches-bin";
const ARCHIVE: &str = "cifar-10-binary.tar.gz";
const ADVICE: &str =
    "`python3 scripts/fetch_cifar10.py` gets the complete CIFAR-10 into data/cifar-10-batches-bin";

/// One of the files, in memory.
struct Loaded {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Reads `split` of the set at `root`: its folder, the folder's parent, the archive, or the
/// archive's folder.
pub(crate) fn open(root: &Path, split: Split) -> Result<Dataset, DataError> {
    let batches: &[&str] = match split {
        Split::Train => &TRAIN,
        Split::Test => &TEST,
    };
    let mut wanted = vec![NAMES];
    wanted.extend(batches);

    let place = locate(root)?;
    let files = match place.is_dir() {
        true => read_folder(&place, &wanted)?,
        false => read_archive(&place, &wanted)?,
    };
    let [names, batches @ ..] = files.as_slice() else {
        return Err(DataError::missing(
            &place,
            "holds no CIFAR-10 files",
            ADVICE,
        ));
    };
    let names = read_names(names)?;
    check_equal_lengths(batches)?;

    let mut pixels = Vec::with_capacity(batches.iter().map(|file| file.bytes.len()).sum());
    let mut labels = Vec::new();
    for Loaded { path, bytes } in batches {
        let records = || bytes.chunks_exact(RECORD).filter_map(<[u8]>::split_first);
        let of_file: Vec<u16> = records().map(|(&label, _)| label.into()).collect();
        if let Some((record, label)) = first_foreign_label(&of_file, CLASSES) {
            let found = format!("label {label} in record {record}");
            return Err(DataError::content(path, found, "0 to 9"));
        }
        labels.extend(of_file);
        records().for_each(|(_, image)| pixels.extend_from_slice(image));
    }
    Dataset::new(name_of(&place), SHAPE, names, pixels, labels)
}

/// The folder of the files, or the archive.
fn locate(root: &Path) -> Result<PathBuf, DataError> {
    if root.is_file() {
        return Ok(root.to_path_buf());
    }
    for folder in [root.to_path_buf(), root.join(FOLDER)] {
        if TRAIN
            .iter()
            .chain(&TEST)
            .any(|name| folder.join(name).is_file())
        {
            return Ok(folder);
        }
    }
    let archive = root.join(ARCHIVE);
    if archive.is_file() {
        return Ok(archive);
    }
    let problem = match root.is_dir() {
        true => "holds no CIFAR-10 files",
        false => "is not there",
    };
    Err(DataError::missing(root, problem, ADVICE))
}

fn read_folder(folder: &Path, wanted: &[&str]) -> Result<Vec<Loaded>, DataError> {
    let read = |name: &&str| {
        let path = folder.join(name);
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataError::missing(&path, "is not there", ADVICE));
            }
            Err(error) => return Err(DataError::io(&path, error)),
        };
        check_size(&path, size)?;
        let bytes = fs::read(&path).map_err(|error| DataError::io(&path, error))?;
        Ok(Loaded { path, bytes })
    };
    wanted.iter().map(read).collect()
}

/// Unpacks the `wanted` files, in that order, wherever in the archive they are.
fn read_archive(archive: &Path, wanted: &[&str]) -> Result<Vec<Loaded>, DataError> {
    let damaged = |error: io::Error| {
        let found = format!("a damaged or truncated archive ({error})");
        DataError::content(archive, found, format!("the official {ARCHIVE}; {ADVICE}"))
    };
    let file = File::open(archive).map_err(|error| DataError::io(archive, error))?;
    let unpacked = MultiGzDecoder::new(BufReader::new(file)).take(UNPACKED);
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(unpacked).entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = archive.join(entry.path().map_err(damaged)?);
        let Some(position) = wanted.iter().position(|name| path.ends_with(name)) else {
            continue;
        };
        check_size(&path, entry.size())?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(damaged)?;
        found.insert(position, Loaded { path, bytes });
    }
    for (position, name) in wanted.iter().enumerate() {
        if !found.contains_key(&position) {
            return Err(DataError::missing(
                &archive.join(name),
                "is not there",
                ADVICE,
            ));
        }
    }
    Ok(found.into_values().collect())
}

/// Whether a file of `size` bytes can be what its name says, before it is read.
fn check_size(path: &Path, size: u64) -> Result<(), DataError> {
    let (fits, expected) = if path.ends_with(NAMES) {
        (size <= 4096, "the names of the 10 classes".to_string())
    } else {
        let whole = size > 0 && size.is_multiple_of(RECORD as u64) && size <= OFFICIAL;
        (
            whole,
            format!("{OFFICIAL} as in the official file, or fewer whole records of {RECORD}"),
        )
    };
    match fits {
        true => Ok(()),
        false => Err(DataError::content(path, format!("{size} bytes"), expected)),
    }
}

fn read_names(file: &Loaded) -> Result<Vec<String>, DataError> {
    let names = class_names(&String::from_utf8_lossy(&file.bytes));
    match names.len() {
        CLASSES => Ok(names),
        count => Err(DataError::content(
            &file.path,
            format!("{count} class names"),
            format!("{CLASSES}, one a line"),
        )),
    }
}

fn check_equal_lengths(files: &[Loaded]) -> Result<(), DataError> {
    let records = |file: &Loaded| file.bytes.len() / RECORD;
    let longest = files.iter().max_by_key(|file| records(file));
    let shortest = files.iter().min_by_key(|file| records(file));
    match (shortest, longest) {
        (Some(short), Some(long)) if records(short) != records(long) => Err(DataError::content(
            &short.path,
            format!("{} records", records(short)),
            format!("{}, as many as in {}", records(long), long.path.display()),
        )),
        _ => Ok(()),
    }
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
        let names: Vec<String> = (0..CLASSES).map(|class| format!("class {class}")).collect();
        std::fs::write(folder.join(NAMES), names.join("\n")).unwrap();
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
        assert_eq!(train.class_names[9], "class 9");
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
    fn foreign_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 2);
        let file = folder.path().join(TRAIN[0]);
        let large = File::create(&file).unwrap();
        large.set_len(OFFICIAL + RECORD as u64).unwrap();
        let line = refusal(folder.path());
        assert!(
            line.contains("data_batch_1.bin: found 30733073 bytes, expected 30730000"),
            "{line}"
        );
        std::fs::write(&file, []).unwrap();
        assert!(refusal(folder.path()).contains("found 0 bytes"));
        std::fs::remove_file(&file).unwrap();
        let line = refusal(folder.path());
        assert!(
            line.contains("data_batch_1.bin: is not there; `python3 scripts/"),
            "{line}"
        );

        std::fs::write(folder.path().join(NAMES), "cat\ndog\n").unwrap();
        let line = open(folder.path(), Split::Test).unwrap_err().to_string();
        assert!(
            line.ends_with("batches.meta.txt: found 2 class names, expected 10, one a line"),
            "{line}"
        );

        let text = folder.path().join("notes.txt");
        std::fs::write(&text, "no archive").unwrap();
        let line = open(&text, Split::Test).unwrap_err().to_string();
        assert!(
            line.contains("notes.txt: found a damaged or truncated archive"),
            "{line}"
        );
        assert!(
            line.contains("expected the official cifar-10-binary.tar.gz"),
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
