//! Weights that other programs saved: PyTorch's `.pth` and `.pt` (zip, and the older formats), pickled NumPy
//! arrays and safetensors files, under torchvision's, the seed network's or Megvii's names.
//!
//! A pickle is a program. [`shufflenet_pickle`] reads it as values and executes nothing, so that whatever else
//! is in a file (an optimizer, arguments, objects of any class) does no harm and is no obstacle. Names and
//! shapes are read first. Values are read only for tensors that fit ([`StateDict::load`]), so a file's claims
//! cost no more than its content.
//!
//! Every tensor is accounted for: it is loaded, it is listed in the [`Fit`], or it is outside the chosen
//! part of the file. Only PyTorch's `num_batches_tracked` counters are skipped silently.

mod error;
mod fit;
mod head;
mod infer_config;
mod megvii;
mod rebuild;
mod safetensors;
mod storages;
mod stranger;
mod tar;
mod tensor;
mod torch;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use error::StateDictError;
pub use fit::{Fit, groups};
use head::Head;
pub use infer_config::infer_config;
use tensor::{ForeignTensor, Tensors};

use crate::entries::{entries, put};
use crate::network::ShuffleNetV2;
use crate::weights::{COUNTER, first_invalid_value, from_pytorch, pytorch_shape};

/// The named tensors of a file, with values that are not yet read.
pub struct StateDict {
    path: PathBuf,
    /// The file format, in words.
    pub kind: String,
    /// The common prefix that was removed from all names: `module.`, `state_dict.`...
    pub prefix: String,
    /// Tensors whose names do not begin with the prefix.
    pub outside: Vec<String>,
    /// Whether the names are Megvii's. They were replaced by torchvision's.
    pub megvii: bool,
    /// The tensor that was taken as the classifier under another name than the network's, in words.
    pub head: Option<String>,
    /// Why no tensor was taken as the classifier, where the choice is unclear.
    pub unclear_head: Option<String>,
    /// Size of the file.
    bytes: usize,
    tensors: Tensors,
}

/// The largest file that is read. A training checkpoint of the widest network has some hundred megabytes.
const MOST_BYTES: u64 = 4 << 30;

impl StateDict {
    /// Reads names, types and shapes of the tensors in `path`. If the file holds several sets of weights (a
    /// model and its moving average), `prefix` chooses one.
    ///
    /// # Errors
    /// Any [`StateDictError`] except [`StateDictError::Number`]; [`StateDictError::Network`] for names of
    /// Megvii's at a width that has no place here.
    pub fn open(path: &Path, prefix: Option<&str>) -> Result<Self, StateDictError> {
        let bytes = read(path)?;
        let size = bytes.len();
        stranger::check(path, &bytes)?;
        let (kind, tensors) = match safetensors::begins(&bytes) {
            true => ("safetensors".into(), safetensors::read(path, &bytes)?),
            false => torch::read(path, bytes)?,
        };
        let prefixes = prefixes(&tensors);
        let prefix = choose(path, &tensors, &prefixes, prefix)?;
        // A classifier may lie beside the network, but not in another network.
        let others = prefixes.iter().filter(|other| **other != prefix);
        let parent = match prefix.trim_end_matches('.').rfind('.') {
            Some(dot) => prefix.get(..=dot).unwrap_or_default(),
            None => "",
        };
        let is_beside = |name: &str| {
            let mut others = others.clone();
            name.starts_with(parent) && !others.any(|other| name.starts_with(other.as_str()))
        };
        let mut chosen = Tensors::new();
        let mut beside = Tensors::new();
        let mut outside = Vec::new();
        for (name, tensor) in tensors {
            match name.strip_prefix(&prefix) {
                Some(name) if name.ends_with(COUNTER) => {}
                Some(name) => drop(chosen.insert(name.into(), tensor)),
                None if is_beside(&name) => drop(beside.insert(name, tensor)),
                None => outside.push(name),
            }
        }
        let megvii = megvii::is_megvii(&chosen);
        if megvii {
            chosen = megvii::rename(chosen).map_err(|why| StateDictError::Network {
                path: path.into(),
                why,
            })?;
        }
        let last = LAST.iter().find_map(|name| chosen.get(*name));
        let (mut head, mut unclear_head) = (None, None);
        if let Some(&width) = last.and_then(|last| last.shape.first()) {
            match head::find(&chosen, &beside, width) {
                Head::AsNamed => {}
                Head::Found(stem) => head = head::place(&mut chosen, &mut beside, &stem),
                Head::Unclear(why) => unclear_head = Some(why),
            }
        }
        outside.extend(beside.into_keys());
        outside.sort();
        Ok(Self {
            path: path.into(),
            kind,
            prefix,
            outside,
            megvii,
            head,
            unclear_head,
            bytes: size,
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

    /// The values of the tensor called `name`, row by row in its shape; `None` if there is no such tensor, or it
    /// is of a type that no weight has, or it claims more values than the file has bytes.
    ///
    /// # Errors
    /// [`StateDictError::Io`] if the values cannot be read.
    pub fn values(&self, name: &str) -> Result<Option<Vec<f32>>, StateDictError> {
        match self.tensors.get(name) {
            Some(tensor) if tensor.count().is_some_and(|count| count <= self.bytes) => {
                tensor.floats().map_err(|source| self.io(source))
            }
            _ => Ok(None),
        }
    }

    /// The type of the tensor called `name` in words, if no weight has that type: `sparse`, `int8`...
    pub fn foreign_type(&self, name: &str) -> Option<String> {
        let tensor = self.tensors.get(name)?;
        (!tensor.is_float()).then(|| tensor.kind.to_string())
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Reorders the colours that the stem takes, from blue, green, red to red, green, blue.
    /// Returns whether there is a stem of three colours.
    pub fn swap_colours(&mut self) -> bool {
        let stem = FIRST.iter().find(|name| self.tensors.contains_key(**name));
        match stem.and_then(|name| self.tensors.get_mut(*name)) {
            Some(ForeignTensor { shape, order, .. }) if matches!(shape[..], [_, 3, ..]) => {
                order[1] = Some(Rc::from([2, 1, 0]));
                true
            }
            _ => false,
        }
    }

    /// Loads the tensors of the file that fit into `network`, with float16, bfloat16 and float64 converted
    /// to float32. The [`Fit`] lists what does not fit; the network keeps its values there.
    ///
    /// # Errors
    /// [`StateDictError::Io`] if the values cannot be read, [`StateDictError::Number`] if a value is NaN or
    /// infinite, or a variance negative.
    pub fn load(&self, network: ShuffleNetV2) -> Result<(ShuffleNetV2, Fit), StateDictError> {
        let mut fit = Fit::default();
        let mut found = HashMap::new();
        let mut known = HashSet::new();
        for entry in entries(&network) {
            let (name, expected) = (entry.file, pytorch_shape(&entry.shape));
            known.insert(name.clone());
            let Some(tensor) = self.tensors.get(&name) else {
                fit.missing.push(name);
                continue;
            };
            if !tensor.is_float() {
                fit.misshapen.push(format!(
                    "{name}: of type {}, expected float32, float16, bfloat16 or float64",
                    tensor.kind
                ));
                continue;
            }
            if tensor.shape != expected {
                let shape = &tensor.shape;
                fit.misshapen
                    .push(format!("{name}: {shape:?}, expected {expected:?}"));
                continue;
            }
            let values = tensor.floats().map_err(|source| self.io(source))?;
            let Some(values) = values else {
                let short = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(self.io(short));
            };
            if let Some((found, accepted)) = first_invalid_value(&name, &values) {
                return Err(StateDictError::Number {
                    path: self.path.clone(),
                    name,
                    found,
                    accepted,
                });
            }
            found.insert(entry.path, from_pytorch(values, &entry.shape));
        }
        fit.loaded = found.len();
        fit.unused = self
            .names()
            .filter(|name| !known.contains(*name))
            .map(String::from)
            .collect();
        Ok((put(network, found), fit))
    }

    fn io(&self, source: io::Error) -> StateDictError {
        StateDictError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

/// The first convolution's names in torchvision and in the seed network.
const FIRST: [&str; 2] = ["conv1.0.weight", "conv1.weight"];
/// The last convolution's names in torchvision and in the seed network.
const LAST: [&str; 2] = ["conv5.0.weight", "conv_last.weight"];
/// The first unit's name in torchvision: a detector's backbone has no last convolution.
const UNIT: [&str; 1] = ["stage2.0.branch2.0.weight"];

fn read(path: &Path) -> Result<Rc<[u8]>, StateDictError> {
    let io = |source| StateDictError::Io {
        path: path.into(),
        source,
    };
    let size = std::fs::metadata(path).map_err(io)?.len();
    if size > MOST_BYTES {
        return Err(StateDictError::Unreadable {
            path: path.into(),
            message: format!("it has {size} bytes, and up to {MOST_BYTES} are read"),
        });
    }
    Ok(std::fs::read(path).map_err(io)?.into())
}

/// What the names of each network in the file begin with.
fn prefixes(tensors: &Tensors) -> Vec<String> {
    let marks = LAST.iter().chain(&UNIT).chain(&megvii::FIRST_UNIT);
    let prefix_of = |name: &String| {
        let prefix = marks.clone().find_map(|mark| name.strip_suffix(mark))?;
        (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_string())
    };
    let prefixes: BTreeSet<String> = tensors.keys().filter_map(prefix_of).collect();
    prefixes.into_iter().collect()
}

fn choose(
    path: &Path,
    tensors: &Tensors,
    prefixes: &[String],
    asked: Option<&str>,
) -> Result<String, StateDictError> {
    let refuse = |found: String| StateDictError::Prefix {
        path: path.into(),
        found,
        accepted: match prefixes {
            [] => "no --prefix: the file has no network under one".into(),
            prefixes => format!("--prefix with one of {prefixes:?}").replace(['[', ']'], ""),
        },
    };
    match (asked, prefixes) {
        // A prefix without its dot.
        (Some(asked), _) if prefixes.contains(&format!("{asked}.")) => Ok(format!("{asked}.")),
        (Some(asked), _) if prefixes.iter().any(|prefix| prefix == asked) => Ok(asked.into()),
        (Some(asked), []) if tensors.keys().any(|name| name.starts_with(asked)) => Ok(asked.into()),
        (Some(asked), _) => Err(refuse(format!("no network's names begin with \"{asked}\""))),
        (None, []) => Ok(String::new()),
        (None, [prefix]) => Ok(prefix.clone()),
        (None, several) => Err(refuse(format!("{} networks in one file", several.len()))),
    }
}
