//! The file formats that are read, by the names that a configuration uses.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{DataError, Dataset, cifar10, idx};

/// How a set is stored on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// CIFAR-10's official binary files: a folder, or `cifar-10-binary.tar.gz`.
    Cifar10,
    /// The files of MNIST and Fashion-MNIST, plain or gzipped, in one folder.
    Idx,
}

/// Which part of a set, as its publisher divided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The images to train on.
    Train,
    /// The images to measure on.
    Test,
}

/// Reads one part of the set at `root` into memory and checks it.
///
/// # Errors
/// [`DataError::Missing`], with how to get the set, where it is not at `root`;
/// [`DataError::Content`] for a file that is truncated, foreign or at odds with the others;
/// [`DataError::Io`] where the system refuses.
pub fn open(format: Format, root: &Path, split: Split) -> Result<Dataset, DataError> {
    match format {
        Format::Cifar10 => cifar10::open(root, split),
        Format::Idx => idx::open(root, split),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_the_names_that_configurations_use() {
        for (format, name) in [(Format::Cifar10, "\"cifar10\""), (Format::Idx, "\"idx\"")] {
            assert_eq!(serde_json::to_string(&format).unwrap(), name);
            assert_eq!(serde_json::from_str::<Format>(name).unwrap(), format);
        }
    }
}
