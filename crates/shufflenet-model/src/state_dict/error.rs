//! The reasons why a file is not taken as weights, in one line each.

use std::io;
use std::path::PathBuf;

use safetensors::tensor::SafeTensorError;

/// A file that cannot be read as weights.
#[derive(Debug, thiserror::Error)]
pub enum StateDictError {
    /// The file could not be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A damaged safetensors file.
    #[error("{}: a safetensors file that was cut off or damaged; get it again ({source})", .path.display())]
    Safetensors {
        /// Path of the file.
        path: PathBuf,
        /// The parser's error.
        source: SafeTensorError,
    },
    /// A file of another format, or a file of `torch.save` that is damaged, hostile or too large.
    #[error("{}: cannot be read as weights: {message}", .path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// What was found, in words.
        message: String,
    },
    /// A file of a known kind that holds no weights, or not all of them.
    #[error("{}: is {what}; {instead}", .path.display())]
    Foreign {
        /// Path of the file.
        path: PathBuf,
        /// What the file is.
        what: String,
        /// What to do instead.
        instead: String,
    },
    /// Several sets of weights without a prefix to choose one, or no name with the given prefix.
    #[error("{}: {found}; accepted: {accepted}", .path.display())]
    Prefix {
        /// Path of the file.
        path: PathBuf,
        /// What was found, in words.
        found: String,
        /// What is accepted, in words.
        accepted: String,
    },
    /// A tensor of the network with a value that is no number, or a negative variance.
    #[error("{}: tensor `{name}` holds {found}; {accepted}", .path.display())]
    Number {
        /// Path of the file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The first such value.
        found: f32,
        /// What is accepted.
        accepted: &'static str,
    },
    /// Names or shapes that belong to no known network.
    #[error("{}: the network cannot be inferred from names and shapes: {why}", .path.display())]
    Network {
        /// Path of the file.
        path: PathBuf,
        /// What was found, and what was expected.
        why: String,
    },
}
