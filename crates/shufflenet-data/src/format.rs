//! The formats of data sets, by their names in a configuration.
//!
//! To add a format, write one file that implements [`Reader`] and add a line to [`READERS`].

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cifar::{Cifar10, Cifar100};
use crate::folder::Folder;
use crate::idx::Idx;
use crate::manifest::Manifest;
#[cfg(feature = "parquet")]
use crate::parquet::Parquet;
use crate::synthetic::Synthetic;
use crate::{DataError, Dataset, Options};

/// A reader of data sets in one format.
pub(crate) trait Reader: Sync {
    /// Name of the format in a configuration.
    fn name(&self) -> &'static str;

    /// Whether the images are encoded and of any size. [`Options`] bring them to one size.
    fn is_encoded(&self) -> bool {
        false
    }

    /// Whether the files at `root` look like a set of this format.
    fn recognises(&self, root: &Path) -> bool;

    /// The parts that the set at `root` is divided into. Empty: it has no division.
    fn parts(&self, _root: &Path) -> Result<Vec<Split>, DataError> {
        Ok(vec![Split::Train, Split::Test])
    }

    /// Reads `split` of the set at `root` and checks whatever can be checked without decoding images.
    fn open(&self, root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError>;
}

/// Every format that this build reads.
const READERS: &[&dyn Reader] = &[
    &Cifar10,
    &Cifar100,
    &Idx,
    &Manifest,
    #[cfg(feature = "parquet")]
    &Parquet,
    // Any other folder of folders.
    &Folder,
    &Synthetic,
];

/// The format in which a data set is stored on disk.
#[derive(Clone, Copy)]
pub struct Format(&'static dyn Reader);

impl Format {
    /// The format called `name`.
    ///
    /// # Errors
    /// [`DataError::Value`] for a name that this build does not know.
    pub fn named(name: &str) -> Result<Self, DataError> {
        let mut readers = READERS.iter();
        let found = readers.find(|reader| reader.name() == name);
        found.map(|&reader| Self(reader)).ok_or_else(|| {
            let known: Vec<&str> = READERS.iter().map(|reader| reader.name()).collect();
            let mut expected = format!("one of {}", known.join(", "));
            if name == "parquet" {
                expected += " (parquet needs a build with --features parquet)";
            }
            DataError::value("data.format", name, expected)
        })
    }

    /// The format of the files at `root`, by their names. `None`: they look like no format.
    pub fn of(root: &Path) -> Option<Self> {
        let mut readers = READERS.iter();
        readers
            .find(|reader| reader.recognises(root))
            .map(|&reader| Self(reader))
    }

    /// Whether the images are encoded and of any size. [`crate::Options`] bring them to one size.
    pub fn is_encoded(&self) -> bool {
        self.0.is_encoded()
    }

    /// Name of the format in a configuration.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Format {}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).map_err(serde::de::Error::custom)
    }
}

/// A part of a data set, as its publisher divided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The images to train on.
    Train,
    /// The images that choices are made on: the best epoch, the learning rate.
    Validation,
    /// The images to measure on, once.
    Test,
    /// All images of a set without a division.
    Whole,
}

impl Split {
    /// The part that a folder, a column or a file calls `name`, in any case: `train` or `training`, `val`, `valid` or
    /// `validation`, `test` or `testing`.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Whole => "all",
        })
    }
}

/// The parts of the set at `root`, in the order train, validation, test. Empty: the set has no division, and
/// [`Options::test_fraction`] divides it.
///
/// # Errors
/// Those errors of [`open`] that the division shows.
pub fn parts(format: Format, root: &Path) -> Result<Vec<Split>, DataError> {
    format.0.parts(root)
}

/// Opens one part of the set at `root` and checks it. Encoded images are decoded later, when they are
/// needed; [`Dataset::check`] decodes them beforehand.
///
/// # Errors
/// [`DataError::Missing`], with advice on how to get the set, if it is not at `root`;
/// [`DataError::Content`] for a file that is truncated, of another kind or inconsistent with the others;
/// [`DataError::Io`] for an error of the operating system; [`DataError::Value`] for an option that cannot
/// work, or a part that the set does not have.
pub fn open(
    format: Format,
    root: &Path,
    split: Split,
    options: &Options,
) -> Result<Dataset, DataError> {
    options.check()?;
    if !format.is_encoded() && !matches!(split, Split::Train | Split::Test) {
        return Err(DataError::value(
            format!("the part of {}", root.display()),
            split.to_string(),
            format!("train or test, the parts of {}", format.name()),
        ));
    }
    format.0.open(root, split, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_the_names_that_configurations_use() {
        for name in [
            "cifar10",
            "cifar100",
            "idx",
            "folder",
            "manifest",
            "synthetic",
        ] {
            let text = format!("\"{name}\"");
            let format: Format = serde_json::from_str(&text).unwrap();
            assert_eq!(format, Format::named(name).unwrap());
            assert_eq!(serde_json::to_string(&format).unwrap(), text);
        }
        let line = Format::named("tfrecord").unwrap_err().to_string();
        assert!(
            line.starts_with("data.format is tfrecord; accepted: one of cifar10, cifar100, idx,"),
            "{line}"
        );
    }

    #[test]
    fn parts_have_several_usual_names() {
        let named = |name: &str| Split::named(name).map(|split| split.to_string());
        for name in ["val", "Valid", "VALIDATION"] {
            assert_eq!(named(name).as_deref(), Some("validation"));
        }
        assert_eq!(named("Train").as_deref(), Some("train"));
        assert_eq!(named("TEST").as_deref(), Some("test"));
        for other in ["", "trainer", "dev", "all"] {
            assert_eq!(named(other), None);
        }
    }

    #[test]
    fn opening_a_part_that_the_set_lacks_is_refused() {
        let format = Format::named("synthetic").unwrap();
        for split in [Split::Validation, Split::Whole] {
            let opened = open(format, Path::new("waves"), split, &Options::default());
            let line = opened.unwrap_err().to_string();
            assert!(line.contains("accepted: train or test"), "{line}");
        }
    }

    #[test]
    fn sets_are_recognised_by_the_names_of_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (file, format) in [
            ("ten/data_batch_1.bin", "cifar10"),
            ("above/cifar-100-binary/train.bin", "cifar100"),
            ("mnist/train-images-idx3-ubyte.gz", "idx"),
            ("photos/cats/1.jpg", "folder"),
        ] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
            let set = root.join(file.split('/').next().unwrap());
            assert_eq!(Format::of(&set).unwrap().name(), format);
        }
        for list in ["list.csv", "list.JSONL"] {
            std::fs::write(root.join(list), "").unwrap();
            assert_eq!(Format::of(&root.join(list)).unwrap().name(), "manifest");
        }
        assert_eq!(Format::of(&root.join("photos/cats")), None);
        assert_eq!(Format::of(&root.join("nowhere")), None);
    }
}
