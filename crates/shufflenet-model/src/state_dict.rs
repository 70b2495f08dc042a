//! Weights that other programs saved: PyTorch's `.pth` and `.pt` (zip, and the older formats) and
//! safetensors files, under torchvision's or the listing's names.
//!
//! A pickle is a program. [`pytorch_reader`] interprets only the few calls that rebuild tensors and never
//! executes code; it limits nesting, copies and sizes. Names and shapes are read first. Values are read
//! only for tensors that fit ([`StateDict::load`]), so a file's claims cost no more than its content.
//!
//! Every tensor is accounted for: it is loaded, it is listed in the [`Fit`], or it is outside the chosen
//! part of the file. Only PyTorch's `num_batches_tracked` counters are skipped silently.

mod foreign;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use foreign::{ForeignTensor, Tensors};
use safetensors::tensor::SafeTensorError;

use crate::entries::{entries, put};
use crate::network::ShuffleNetV2;
use crate::weights::{COUNTER, from_pytorch, pytorch_shape};

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
    #[error("{}: no whole safetensors file: {source}", .path.display())]
    Safetensors {
        /// Path of the file.
        path: PathBuf,
        /// The parser's error.
        source: SafeTensorError,
    },
    /// A file that is neither safetensors nor written by `torch.save`, or that is damaged or hostile.
    #[error(
        "{}: neither a safetensors file nor one of torch.save that holds tensors alone: {message}",
        .path.display()
    )]
    Pickle {
        /// Path of the file.
        path: PathBuf,
        /// The reader's error message.
        message: String,
    },
    /// Several sets of weights without a prefix to choose one, or no name with the given prefix.
    #[error("{}: {found}; accepted: --prefix with one of {}", .path.display(), .accepted.join(", "))]
    Prefix {
        /// Path of the file.
        path: PathBuf,
        /// What was found, in words.
        found: String,
        /// The prefixes in the file.
        accepted: Vec<String>,
    },
    /// Tensors that claim to be larger than the file.
    #[error(
        "{}: its tensors claim {claimed} numbers, which its {bytes} bytes cannot hold",
        .path.display()
    )]
    Claim {
        /// Path of the file.
        path: PathBuf,
        /// Number of values in all tensors together.
        claimed: u128,
        /// Size of the file in bytes.
        bytes: u64,
    },
    /// Names or shapes that belong to no known network.
    #[error("the network cannot be told from names and shapes: {0}")]
    Network(String),
}

/// The named tensors of a file, with values that are not yet read.
pub struct StateDict {
    path: PathBuf,
    /// The file format, in words.
    pub kind: String,
    /// The common prefix that was removed from all names: `module.`, `state_dict.`...
    pub prefix: String,
    /// Tensors whose names do not begin with the prefix.
    pub outside: Vec<String>,
    tensors: Tensors,
}

/// The differences between a file's tensors and a network's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// Tensors of the network that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the network lacks.
    pub unused: Vec<String>,
    /// Tensors of another shape or not of a floating-point type, each with what was found and what is
    /// expected.
    pub misshapen: Vec<String>,
    /// Number of tensors that are loaded.
    pub loaded: usize,
}

impl Fit {
    /// Whether every tensor fits and none is missing or unused.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.misshapen.is_empty()
    }
}

/// A line of counts, then a line for each tensor that does not fit.
impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (missing, unused) = (self.missing.len(), self.unused.len());
        let misshapen = self.misshapen.len();
        write!(
            f,
            "{} tensors fit, {missing} missing, {unused} unused, {misshapen} misshapen",
            self.loaded
        )?;
        let lists = [
            ("missing", &self.missing),
            ("unused", &self.unused),
            ("misshapen", &self.misshapen),
        ];
        for (what, names) in lists {
            for name in names {
                write!(f, "\n  {what:<10} {name}")?;
            }
        }
        Ok(())
    }
}

impl StateDict {
    /// Reads names, types and shapes of the tensors in `path`. If the file holds several sets of weights (a
    /// model and its moving average), `prefix` chooses one.
    ///
    /// # Errors
    /// Any [`StateDictError`] except [`StateDictError::Network`].
    pub fn open(path: &Path, prefix: Option<&str>) -> Result<Self, StateDictError> {
        let io = |source| StateDictError::Io {
            path: path.into(),
            source,
        };
        let file = std::fs::File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut start = Vec::new();
        file.take(9).read_to_end(&mut start).map_err(io)?;
        // A safetensors file begins with the length of its header, in eight bytes, and the header, in JSON.
        let (kind, tensors) = match start.get(8) {
            Some(b'{') => ("safetensors".into(), foreign::safetensors(path)?),
            _ => foreign::pickle(path)?,
        };
        let numbers = |tensor: &ForeignTensor| tensor.shape.iter().map(|&n| n as u128).product();
        let claimed: u128 = tensors.values().map(numbers).fold(0, u128::saturating_add);
        if claimed > u128::from(size) {
            return Err(StateDictError::Claim {
                path: path.into(),
                claimed,
                bytes: size,
            });
        }
        let prefix = choose(path, &tensors, prefix)?;
        let mut outside = Vec::new();
        let mut chosen = BTreeMap::new();
        for (name, tensor) in tensors {
            match name.strip_prefix(&prefix) {
                Some(name) if name.ends_with(COUNTER) => {}
                Some(name) => drop(chosen.insert(name.into(), tensor)),
                None => outside.push(name),
            }
        }
        Ok(Self {
            path: path.into(),
            kind,
            prefix,
            outside,
            tensors: chosen,
        })
    }

    /// Number of tensors, without the counters.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The shape of the tensor called `name`; `None` if there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.tensors.get(name)?.shape)
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Number of values in all tensors together.
    pub(crate) fn numbers(&self) -> usize {
        let numbers = |tensor: &ForeignTensor| tensor.shape.iter().product::<usize>();
        self.tensors.values().map(numbers).sum()
    }

    /// Loads the tensors of the file that fit into `network`, with float16, bfloat16 and float64 converted
    /// to float32. The [`Fit`] lists what does not fit; the network keeps its values there.
    ///
    /// # Errors
    /// [`StateDictError::Io`] if the values cannot be read.
    pub fn load(&self, network: ShuffleNetV2) -> Result<(ShuffleNetV2, Fit), StateDictError> {
        let mut fit = Fit::default();
        let mut found = HashMap::new();
        let mut known = HashMap::new();
        for entry in entries(&network) {
            let (name, expected) = (entry.file, pytorch_shape(&entry.shape));
            known.insert(name.clone(), ());
            let Some(tensor) = self.tensors.get(&name) else {
                fit.missing.push(name);
                continue;
            };
            if tensor.shape != expected {
                let shape = &tensor.shape;
                fit.misshapen
                    .push(format!("{name}: {shape:?}, expected {expected:?}"));
                continue;
            }
            let bytes = (tensor.bytes)().map_err(|source| StateDictError::Io {
                path: self.path.clone(),
                source,
            })?;
            match tensor.floats(&bytes) {
                Some(values) if values.len() == expected.iter().product::<usize>() => {
                    found.insert(entry.path, from_pytorch(values, &entry.shape));
                }
                _ => fit.misshapen.push(format!(
                    "{name}: of type {:?}, expected F32, F16, BF16 or F64",
                    tensor.kind
                )),
            }
        }
        fit.loaded = found.len();
        fit.unused = self
            .names()
            .filter(|name| !known.contains_key(*name))
            .map(String::from)
            .collect();
        Ok((put(network, found), fit))
    }
}

/// The last convolution's names in torchvision and in the listing; the text before them is the prefix.
const LAST: [&str; 2] = ["conv5.0.weight", "conv_last.weight"];

fn choose(path: &Path, tensors: &Tensors, asked: Option<&str>) -> Result<String, StateDictError> {
    let prefix_of = |name: &String| {
        let prefix = LAST.iter().find_map(|last| name.strip_suffix(last))?;
        (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_string())
    };
    let prefixes: Vec<String> = tensors.keys().filter_map(prefix_of).collect();
    let refuse = |found: String| StateDictError::Prefix {
        path: path.into(),
        found,
        accepted: prefixes
            .iter()
            .map(|prefix| format!("\"{prefix}\""))
            .collect(),
    };
    match (asked, prefixes.as_slice()) {
        (Some(asked), _) if tensors.keys().any(|name| name.starts_with(asked)) => Ok(asked.into()),
        (Some(asked), _) => Err(refuse(format!("no name begins with \"{asked}\""))),
        (None, []) => Ok(String::new()),
        (None, [prefix]) => Ok(prefix.clone()),
        (None, several) => Err(refuse(format!("{} networks in one file", several.len()))),
    }
}
