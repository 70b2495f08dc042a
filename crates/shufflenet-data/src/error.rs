//! Errors of data, in one line each: the file or value, what was found and what is accepted.

use std::io;
use std::path::{Path, PathBuf};

use shufflenet_image::ValueError;

/// The reason why data was refused.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder could not be read.
    #[error("{}: cannot be read: {error}", path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A data set, or one of its files, is missing.
    #[error("{}: {problem}; {advice}", path.display())]
    Missing {
        /// Path of the file or folder.
        path: PathBuf,
        /// What is wrong with the file or folder.
        problem: String,
        /// How to get the data set.
        advice: &'static str,
    },
    /// A file does not have the content that its format requires.
    #[error("{}: found {found}, expected {expected}", path.display())]
    Content {
        /// Path of the file.
        path: PathBuf,
        /// What the file holds.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// A value given by the caller that cannot work.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// A file could not be fetched.
    #[error("{url}: cannot be fetched: {problem}")]
    Fetch {
        /// URL of the file.
        url: String,
        /// The reason for the failure.
        problem: String,
    },
    /// A thread that prepares batches has failed.
    #[error("a thread that prepares batches failed: {cause}")]
    Worker {
        /// The thread's panic message, or the reason why the thread did not start or ended early.
        cause: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Io { path, error }
    }

    #[cfg(feature = "fetch")]
    pub(crate) fn fetch(url: &str, problem: impl Into<String>) -> Self {
        Self::Fetch {
            url: url.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn missing(path: &Path, problem: impl Into<String>, advice: &'static str) -> Self {
        Self::Missing {
            path: path.to_path_buf(),
            problem: problem.into(),
            advice,
        }
    }

    pub(crate) fn content(
        path: &Path,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Content {
            path: path.to_path_buf(),
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// Creates a [`DataError::Value`] from its parts.
    pub fn value(
        what: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Value(ValueError::new(what, found, expected))
    }
}
