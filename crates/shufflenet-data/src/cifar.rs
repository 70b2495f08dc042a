//! The official files of CIFAR-10 and CIFAR-100 (Krizhevsky 2009), in the binary and in the Python version.
//!
//! A record is its label and 3 x 1024 bytes of pixels: the red, the green and the blue plane, each row by
//! row. CIFAR-10 has one byte of label, five files with training records and one with test records, 10,000
//! records in each. CIFAR-100 has two bytes of label, superclass (`coarse`) and class (`fine`), and one
//! file per part. Text files name the classes. The files are read from their folder or directly from the
//! official `.tar.gz`. Smaller sets in the same format are accepted, but all files of one part must have
//! the same length: that detects a file that was cut between two records. The Python version ([`python`]) is
//! converted to the binary one first, so it gives the same set.

mod layout;
mod python;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use layout::{HUNDRED_COARSE, HUNDRED_FINE, Layout, TEN, Version};

use crate::dataset::{class_names, first_foreign_label, name_of};
use crate::format::Reader;
use crate::words::{counted, counted_bytes, plural};
use crate::{DataError, Dataset, ImageShape, Labels, Options, Split, text};

const SHAPE: ImageShape = ImageShape {
    channels: 3,
    height: 32,
    width: 32,
};
const PIXELS: usize = 3 * 32 * 32;
/// The largest unpacked size of an archive in bytes; the official archives unpack to 184 MB.
const UNPACKED: u64 = 1 << 30;

/// The format `cifar10`.
pub(crate) struct Cifar10;

impl Reader for Cifar10 {
    fn name(&self) -> &'static str {
        "cifar10"
    }

    fn recognises(&self, root: &Path) -> bool {
        TEN.recognises(root)
    }

    fn open(&self, root: &Path, split: Split, _: &Options) -> Result<Dataset, DataError> {
        TEN.open(root, split)
    }
}

/// The format `cifar100`.
pub(crate) struct Cifar100;

impl Reader for Cifar100 {
    fn name(&self) -> &'static str {
        "cifar100"
    }

    fn recognises(&self, root: &Path) -> bool {
        HUNDRED_FINE.recognises(root)
    }

    fn open(&self, root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
        match options.labels {
            Labels::Fine => HUNDRED_FINE.open(root, split),
            Labels::Coarse => HUNDRED_COARSE.open(root, split),
        }
    }
}

/// A file of the set, in memory.
struct Loaded {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Layout {
    /// Whether `root` has the set's files or its archive. An archive itself is known by its name.
    fn recognises(&self, root: &Path) -> bool {
        if root.is_file() {
            let archives = [self.archive, self.python.archive];
            root.file_name()
                .is_some_and(|name| archives.iter().any(|archive| name == *archive))
        } else {
            self.locate(root).is_ok()
        }
    }

    /// Size of a record in bytes.
    fn record(&self) -> usize {
        self.label_bytes + PIXELS
    }

    /// Names of the files with `split`, beginning with the file of class names.
    fn wanted(&self, version: Version, split: Split) -> Vec<&'static str> {
        let (names, batches) = match (version, split) {
            (Version::Binary, Split::Train) => (self.names, self.train),
            (Version::Binary, _) => (self.names, self.test),
            (Version::Python, Split::Train) => (self.python.names, self.python.train),
            (Version::Python, _) => (self.python.names, self.python.test),
        };
        [&[names], batches].concat()
    }

    /// Reads `split` of the set at `root`, which is its folder, the folder's parent, the archive, or the
    /// archive's folder.
    fn open(&self, root: &Path, split: Split) -> Result<Dataset, DataError> {
        let (place, version) = self.locate(root)?;
        let (version, files) = match version {
            Some(version) => {
                let wanted = self.wanted(version, split);
                (version, self.read_folder(&place, version, &wanted)?)
            }
            None => {
                let file = File::open(&place).map_err(|error| DataError::io(&place, error))?;
                let unpacked = MultiGzDecoder::new(BufReader::new(file));
                self.read_archive(&place, unpacked, split)?
            }
        };
        let files = self.in_binary(version, files)?;
        self.assemble(&place, &files)
    }

    /// The files as the binary version has them.
    fn in_binary(&self, version: Version, files: Vec<Loaded>) -> Result<Vec<Loaded>, DataError> {
        if version == Version::Binary {
            return Ok(files);
        }
        let convert = |(place, file)| match place {
            0 => self.python.class_names(&file),
            _ => self.python.records(&file, self.label_bytes, self.label),
        };
        files.into_iter().enumerate().map(convert).collect()
    }

    /// Builds a set from its files: the names of the classes first, then the batches.
    fn assemble(&self, place: &Path, files: &[Loaded]) -> Result<Dataset, DataError> {
        let [names, batches @ ..] = files else {
            return Err(DataError::missing(
                place,
                "holds none of the files",
                self.advice,
            ));
        };
        let names = self.read_names(names)?;
        check_equal_lengths(batches, self.record())?;

        let mut pixels = Vec::with_capacity(batches.iter().map(|file| file.bytes.len()).sum());
        let mut labels = Vec::new();
        for Loaded { path, bytes } in batches {
            let records = || bytes.chunks_exact(self.record());
            let of_file: Vec<u16> = records().map(|record| record[self.label].into()).collect();
            if let Some((record, label)) = first_foreign_label(&of_file, self.classes) {
                let found = format!("label {label} in record {record}");
                return Err(DataError::content(
                    path,
                    found,
                    format!("0 to {}", self.classes - 1),
                ));
            }
            labels.extend(of_file);
            records().for_each(|record| pixels.extend_from_slice(&record[self.label_bytes..]));
        }
        Dataset::new(name_of(place), SHAPE, names, pixels, labels)
    }

    /// The folder with the files and their version, or the archive.
    fn locate(&self, root: &Path) -> Result<(PathBuf, Option<Version>), DataError> {
        if root.is_file() {
            return Ok((root.to_path_buf(), None));
        }
        for (version, folder) in [
            (Version::Binary, self.folder),
            (Version::Python, self.python.folder),
        ] {
            for folder in [root.to_path_buf(), root.join(folder)] {
                let mut files = [Split::Train, Split::Test]
                    .into_iter()
                    .flat_map(|split| self.wanted(version, split).split_off(1));
                if files.any(|name| folder.join(name).is_file()) {
                    return Ok((folder, Some(version)));
                }
            }
        }
        for archive in [self.archive, self.python.archive] {
            let archive = root.join(archive);
            if archive.is_file() {
                return Ok((archive, None));
            }
        }
        let problem = match root.is_dir() {
            true => "holds none of the files",
            false => "does not exist",
        };
        Err(DataError::missing(root, problem, self.advice))
    }

    fn read_folder(
        &self,
        folder: &Path,
        version: Version,
        wanted: &[&str],
    ) -> Result<Vec<Loaded>, DataError> {
        let read = |name: &&str| {
            let path = folder.join(name);
            let size = match fs::metadata(&path) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(DataError::missing(&path, "does not exist", self.advice));
                }
                Err(error) => return Err(DataError::io(&path, error)),
            };
            self.check_size(&path, version, size)?;
            let bytes = fs::read(&path).map_err(|error| DataError::io(&path, error))?;
            Ok(Loaded { path, bytes })
        };
        wanted.iter().map(read).collect()
    }

    /// Reads the files with `split` from the `unpacked` archive, in their order whatever their order in the
    /// archive. No other files are read and nothing is written, so links and names with `..` have no effect.
    fn read_archive(
        &self,
        archive: &Path,
        unpacked: impl Read,
        split: Split,
    ) -> Result<(Version, Vec<Loaded>), DataError> {
        let versions = [Version::Binary, Version::Python];
        let wanted = versions.map(|version| self.wanted(version, split));
        let damaged = |error: io::Error| {
            let found = format!("a damaged or truncated archive ({error})");
            let expected = format!("the official {}; {}", self.archive, self.advice);
            DataError::content(archive, found, expected)
        };
        let unpacked = unpacked.take(UNPACKED);
        let mut found = [BTreeMap::new(), BTreeMap::new()];
        for entry in tar::Archive::new(unpacked).entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let path = archive.join(entry.path().map_err(damaged)?);
            for ((version, wanted), found) in versions.into_iter().zip(&wanted).zip(&mut found) {
                let Some(position) = wanted.iter().position(|name| path.ends_with(name)) else {
                    continue;
                };
                self.check_size(&path, version, entry.size())?;
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(damaged)?;
                // A link also has a size, but no bytes.
                self.check_size(&path, version, bytes.len() as u64)?;
                let path = path.clone();
                found.insert(position, Loaded { path, bytes });
            }
        }
        let [binary, python] = found;
        let [binary_names, python_names] = wanted;
        let (version, wanted, found) = match binary.is_empty() && !python.is_empty() {
            true => (Version::Python, python_names, python),
            false => (Version::Binary, binary_names, binary),
        };
        for (position, name) in wanted.iter().enumerate() {
            if !found.contains_key(&position) {
                let path = archive.join(name);
                return Err(DataError::missing(&path, "does not exist", self.advice));
            }
        }
        Ok((version, found.into_values().collect()))
    }

    /// Checks, before a file is read, that its size of `size` bytes is plausible for its name.
    fn check_size(&self, path: &Path, version: Version, size: u64) -> Result<(), DataError> {
        let (record, most) = (self.record() as u64, (self.records * self.record()) as u64);
        let (fits, expected) = if version == Version::Python {
            let most = (self.records * python::MOST_PER_RECORD) as u64;
            (size > 0 && size <= most, format!("1 to {most}"))
        } else if path.ends_with(self.names) {
            (
                size <= 4096,
                format!("the names of the {} classes", self.classes),
            )
        } else {
            let whole = size > 0 && size.is_multiple_of(record) && size <= most;
            (
                whole,
                format!("{most} as in the official file, or fewer whole records of {record}"),
            )
        };
        match fits {
            true => Ok(()),
            false => Err(DataError::content(path, counted_bytes(size), expected)),
        }
    }

    fn read_names(&self, file: &Loaded) -> Result<Vec<String>, DataError> {
        let read = text::decode(&file.bytes);
        let expected = format!("{}, one per line", self.classes);
        let read = read.map_err(|found| DataError::content(&file.path, found, expected))?;
        let names = class_names(read);
        if names.len() == self.classes {
            Ok(names)
        } else {
            Err(DataError::content(
                &file.path,
                format!("{} {}", names.len(), plural(names.len(), "class name")),
                format!("{}, one per line", self.classes),
            ))
        }
    }
}

/// Reads an unpacked archive of CIFAR-100's test part, for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn fuzz_archive(bytes: &[u8]) {
    let (layout, place) = (HUNDRED_FINE, Path::new("archive"));
    let files = layout.read_archive(place, bytes, Split::Test);
    let files = files.and_then(|(version, files)| layout.in_binary(version, files));
    let _ = files.and_then(|files| layout.assemble(place, &files));
}

fn check_equal_lengths(files: &[Loaded], record: usize) -> Result<(), DataError> {
    let records = |file: &Loaded| file.bytes.len() / record;
    let longest = files.iter().max_by_key(|file| records(file));
    let shortest = files.iter().min_by_key(|file| records(file));
    match (shortest, longest) {
        (Some(short), Some(long)) if records(short) != records(long) => Err(DataError::content(
            &short.path,
            counted(records(short), "record"),
            format!("{}, as many as in {}", records(long), long.path.display()),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
