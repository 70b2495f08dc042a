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

    /// Reads `split` of the set at `root` and checks whatever can be checked without decoding images.
    fn open(&self, root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError>;
}

/// Every format that this build reads.
const READERS: &[&dyn Reader] = &[
    &Cifar10,
    &Cifar100,
    &Idx,
    &Folder,
    &Manifest,
    #[cfg(feature = "parquet")]
    &Parquet,
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
            DataError::value("the format", name, expected)
        })
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

/// The part of a data set, as its publisher divided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The images to train on.
    Train,
    /// The images to measure on.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// Opens one part of the set at `root` and checks it. Encoded images are decoded later, when they are
/// needed; with [`crate::OnBadImage::Skip`] each is also decoded once here, and left out if that fails.
///
/// # Errors
/// [`DataError::Missing`], with advice on how to get the set, if it is not at `root`;
/// [`DataError::Content`] for a file that is truncated, of another kind or inconsistent with the others;
/// [`DataError::Io`] for an error of the operating system; [`DataError::Value`] for an option that cannot
/// work.
pub fn open(
    format: Format,
    root: &Path,
    split: Split,
    options: &Options,
) -> Result<Dataset, DataError> {
    options.check()?;
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
            line.starts_with("the format is tfrecord, expected one of cifar10, cifar100, idx,"),
            "{line}"
        );
    }
}
