//! What can be wrong with data: one line each, with the file or value, what was found and what is
//! accepted.

use std::io;
use std::path::{Path, PathBuf};

/// Why data was refused.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder could not be read.
    #[error("{}: cannot be read: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A set, or a file of it, is not where it was looked for.
    #[error("{}: {problem}; {advice}", path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
        /// How to get it.
        advice: &'static str,
    },
    /// A file does not hold what its format promises.
    #[error("{}: found {found}, expected {expected}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A value given by the caller cannot work.
    #[error("{what} is {found}, expected {expected}")]
    Value {
        /// Name of the value.
        what: String,
        /// The value.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A file could not be fetched.
    #[error("{url}: cannot be fetched: {problem}")]
    Fetch {
        /// Its address.
        url: String,
        /// What came of it.
        problem: String,
    },
    /// A thread that prepares batches is gone.
    #[error("a thread that prepares batches failed: {cause}")]
    Worker {
        /// What it said last.
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

    pub(crate) fn missing(path: &Path, problem: &'static str, advice: &'static str) -> Self {
        let path = path.to_path_buf();
        Self::Missing {
            path,
            problem,
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

    /// [`DataError::Value`] of its parts.
    pub fn value(
        what: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Value {
            what: what.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}
