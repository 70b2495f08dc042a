//! From the values of a pickle to named tensors.
//!
//! A tensor is a call of one of PyTorch's functions that rebuild tensors, or a NumPy array. Its name is the
//! path of keys to it: `state_dict.conv1.0.weight`. A whole network (`torch.save(network)`) is an object with
//! its tensors in `_parameters`, `_buffers` and `_modules`, which are no part of a name. Every other value is
//! passed over, whatever its type.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use shufflenet_pickle::{Id, Pickle, Value};

use super::storages::Storages;
use super::tensor::{ForeignTensor, Kind, Source, Tensors, column_strides};

/// A storage as the pickle announces it.
#[derive(Clone)]
pub(super) struct Announced {
    pub kind: Kind,
    /// Size of an element in bytes.
    pub size: usize,
    pub elements: usize,
}

/// The storages that a pickle announces, by key: `('storage', torch.FloatStorage, key, device, elements)`.
pub(super) fn announced(pickle: &Pickle) -> HashMap<String, Announced> {
    let storages = pickle.values().iter().filter_map(|value| match value {
        Value::Persistent(id) => storage(pickle, *id),
        _ => None,
    });
    storages.map(|(key, storage, _)| (key, storage)).collect()
}

/// Key, description and first element of the storage with the persistent `id`. Old files have views of
/// storages, which begin at another element than the first.
fn storage(pickle: &Pickle, id: Id) -> Option<(String, Announced, usize)> {
    let &[word, class, key, _device, elements, ref rest @ ..] = pickle.items(id)? else {
        return None;
    };
    let class = pickle.class(class)?.rsplit('.').next()?;
    let (kind, size) = element(class.strip_suffix("Storage")?)?;
    let view = rest.first().and_then(|&view| pickle.items(view));
    let start = match view {
        Some(&[_, start, _]) => usize::try_from(pickle.int(start)?).ok()?,
        _ => 0,
    };
    let storage = Announced {
        kind,
        size,
        elements: usize::try_from(pickle.int(elements)?).ok()?,
    };
    let key = match pickle.int(key) {
        Some(number) => number.to_string(),
        None => pickle.text(key)?.to_string(),
    };
    (pickle.text(word) == Some("storage")).then_some((key, storage, start))
}

/// Type and bytes of an element, by the name of a storage or of a `torch.dtype`.
pub(super) fn element(name: &str) -> Option<(Kind, usize)> {
    let other = |words: &str| Kind::Other(words.into());
    Some(match name {
        "Float" | "float32" => (Kind::F32, 4),
        "Half" | "float16" => (Kind::F16, 2),
        "BFloat16" | "bfloat16" => (Kind::BF16, 2),
        "Double" | "float64" => (Kind::F64, 8),
        "Long" | "int64" => (other("int64"), 8),
        "Int" | "int32" => (other("int32"), 4),
        "Short" | "int16" => (other("int16"), 2),
        "Char" | "int8" => (other("int8"), 1),
        "Byte" | "uint8" => (other("uint8"), 1),
        "Bool" | "bool" => (other("bool"), 1),
        "ComplexFloat" | "complex64" => (other("complex64"), 8),
        "ComplexDouble" | "complex128" => (other("complex128"), 16),
        "QInt8" | "QUInt8" | "QUInt4x2" | "QUInt2x4" => (other("quantized"), 1),
        "QInt32" => (other("quantized"), 4),
        // Typed by the tensor.
        "Untyped" => (other("untyped"), 1),
        // A type that is newer than this list, such as float8_e4m3fn.
        name => (other(name), 1),
    })
}

/// Containers within each other. Deeper ones are passed over.
const MOST_DEPTH: usize = 64;
/// Tensors in one file.
const MOST_TENSORS: usize = 100_000;
/// Bytes of all names together, and of one key. Longer keys are no names.
const MOST_TEXT: usize = 1 << 26;
const MOST_KEY: usize = 512;

/// The tensors of a pickle by name, with their elements in `storages`. It refers to `stored` ones by a key.
///
/// # Errors
/// No tensor; or more tensors, or longer names, than a file of weights has: a hostile file repeats a list of
/// tensors by reference.
pub(super) fn tensors(
    pickle: &Pickle,
    storages: &Rc<Storages>,
    stored: &Tensors,
) -> Result<Tensors, String> {
    let mut walk = Walk {
        pickle,
        storages,
        stored,
        found: Tensors::new(),
        text: 0,
        too_deep: false,
        without: HashSet::new(),
        within: HashSet::new(),
        arrays: RefCell::default(),
    };
    walk.visit(pickle.root(), "", 0)?;
    match (walk.found.is_empty(), walk.too_deep) {
        (false, _) => Ok(walk.found),
        (true, false) => Err("there are no tensors in it".into()),
        (true, true) => Err(format!(
            "there are no tensors in it down to where its nesting exceeds {MOST_DEPTH} levels"
        )),
    }
}

struct Walk<'a> {
    pickle: &'a Pickle<'a>,
    storages: &'a Rc<Storages>,
    stored: &'a Tensors,
    found: Tensors,
    text: usize,
    /// Whether something was passed over for its depth.
    too_deep: bool,
    /// Containers without a tensor: each is looked at once.
    without: HashSet<Id>,
    /// Containers that the current one is in: a pickle may contain itself.
    within: HashSet<Id>,
    /// NumPy arrays, whose bytes are shared by all names of an array.
    arrays: RefCell<HashMap<Id, ForeignTensor>>,
}

impl Walk<'_> {
    fn visit(&mut self, id: Id, name: &str, depth: usize) -> Result<(), String> {
        self.too_deep |= depth > MOST_DEPTH;
        if depth > MOST_DEPTH || self.without.contains(&id) || self.within.contains(&id) {
            return Ok(());
        }
        if let Some(tensor) = self.tensor(id, 0) {
            self.text += name.len();
            self.found.insert(name.into(), tensor);
            return if self.found.len() > MOST_TENSORS || self.text > MOST_TEXT {
                Err(format!(
                    "it has more than {MOST_TENSORS} tensors, or endless names"
                ))
            } else {
                Ok(())
            };
        }
        let before = self.text;
        self.within.insert(id);
        if let Some(entries) = self.pickle.entries(id) {
            self.visit_entries(&entries, name, depth)?;
        } else if let Some(items) = self.pickle.items(id) {
            for (place, &item) in items.iter().enumerate() {
                if self.may_hold(item) {
                    self.visit(item, &join(name, &place.to_string()), depth + 1)?;
                }
            }
        }
        // A module, whose state is its attributes.
        if let Some(state) = self.pickle.state(id)
            && self.pickle.entry(state, "_modules").is_some()
        {
            for part in ["_parameters", "_buffers", "_modules"] {
                let entries = self.pickle.entry(state, part);
                if let Some(entries) = entries.and_then(|part| self.pickle.entries(part)) {
                    self.visit_entries(&entries, name, depth)?;
                }
            }
        }
        self.within.remove(&id);
        if self.text == before {
            self.without.insert(id);
        }
        Ok(())
    }

    fn visit_entries(
        &mut self,
        entries: &[(Id, Id)],
        name: &str,
        depth: usize,
    ) -> Result<(), String> {
        for &(key, value) in entries {
            if !self.may_hold(value) {
                continue;
            }
            let key = match self.pickle.get(key) {
                Value::Int(number) => number.to_string(),
                _ => match self.pickle.text(key) {
                    Some(text) if text.len() <= MOST_KEY => text.into(),
                    // A tuple, for example. What it names is no tensor of a network, but may be one.
                    _ => "?".into(),
                },
            };
            self.visit(value, &join(name, &key), depth + 1)?;
        }
        Ok(())
    }

    /// Whether the value may be or hold a tensor. Most values of a large list do not.
    fn may_hold(&self, id: Id) -> bool {
        let value = self.pickle.get(id);
        matches!(
            value,
            Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Object(_)
                | Value::Persistent(_)
        )
    }

    /// The tensor at `id`. Calls within calls are followed some steps.
    fn tensor(&self, id: Id, depth: usize) -> Option<ForeignTensor> {
        if let Some(known) = self.arrays.borrow().get(&id) {
            return Some(known.clone());
        }
        if let Some(array) = self.pickle.array(id) {
            let tensor = array_tensor(&array);
            self.arrays.borrow_mut().insert(id, tensor.clone());
            return Some(tensor);
        }
        if let Value::Persistent(key) = self.pickle.get(id) {
            return self.stored.get(self.pickle.text(*key)?).cloned();
        }
        let (name, arguments) = self.pickle.call(id)?;
        self.rebuilt(name, arguments, depth)
    }

    fn rebuilt(&self, name: &str, arguments: &[Id], depth: usize) -> Option<ForeignTensor> {
        let name = name.strip_prefix("torch.")?;
        let (_, function) = name.rsplit_once('.')?;
        let inner = |id: Id| match depth < 4 {
            true => self.tensor(id, depth + 1),
            false => None,
        };
        Some(match (function, arguments) {
            ("_rebuild_parameter" | "_rebuild_parameter_with_state", &[data, ..]) => inner(data)?,
            ("_rebuild_from_type_v2", &[function, _, arguments, ..]) if depth < 4 => {
                let function = self.pickle.class(function)?;
                self.rebuilt(function, self.pickle.items(arguments)?, depth + 1)?
            }
            ("_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3", _) => self
                .strided(function, arguments)
                .unwrap_or_else(|| ForeignTensor::unreadable("a damaged tensor")),
            _ => ForeignTensor::unreadable(kind_of(function.strip_prefix("_rebuild_")?)),
        })
    }

    /// A tensor of a storage, an offset, a shape, strides and, in the third version, a type.
    fn strided(&self, function: &str, arguments: &[Id]) -> Option<ForeignTensor> {
        let &[of, offset, shape, strides, ref rest @ ..] = arguments else {
            return None;
        };
        let shape = self.pickle.sizes(shape)?;
        let Value::Persistent(of) = *self.pickle.get(of) else {
            // `pickle.dump` puts the storage into the call, as a file within the file.
            let kind = Kind::Other("saved by pickle.dump instead of torch.save".into());
            return Some(ForeignTensor::rows(shape, kind, Source::Nothing));
        };
        let (key, announced, start) = storage(self.pickle, of)?;
        let (kind, elements) = match (function, rest) {
            ("_rebuild_tensor_v3", &[_, _, kind, ..]) => {
                let name = self.pickle.class(kind)?.strip_prefix("torch.")?;
                let (kind, size) = element(name)?;
                let bytes = announced.elements.checked_mul(announced.size)?;
                (kind, bytes / size)
            }
            _ => (announced.kind, announced.elements),
        };
        let tensor = ForeignTensor {
            shape,
            kind,
            source: Source::Storage(self.storages.clone(), key),
            strides: self.pickle.sizes(strides)?,
            offset: start.checked_add(usize::try_from(self.pickle.int(offset)?).ok()?)?,
            order: [None, None],
        };
        // Of another element size than the storage's, the bounds are not known.
        (tensor.fits(elements) || !tensor.is_float()).then_some(tensor)
    }
}

fn array_tensor(array: &shufflenet_pickle::Array) -> ForeignTensor {
    let kind = match (&array.kind[..], array.big_endian) {
        ("f4", false) => Kind::F32,
        ("f2", false) => Kind::F16,
        ("f8", false) => Kind::F64,
        (kind, true) => Kind::Other(format!("big-endian NumPy {kind}")),
        (kind, false) => Kind::Other(format!("NumPy {kind}")),
    };
    let source = Source::Bytes(Rc::from(&*array.bytes));
    let tensor = ForeignTensor::rows(array.shape.clone(), kind, source);
    if array.by_columns {
        ForeignTensor {
            strides: column_strides(&array.shape),
            ..tensor
        }
    } else {
        tensor
    }
}

/// What a function rebuilds, in words.
fn kind_of(function: &str) -> String {
    let kind = match function {
        "qtensor" => "quantized",
        "sparse_tensor" | "sparse_csr_tensor" => "sparse",
        "meta_tensor_no_storage" => "meta, without values",
        other => other.trim_end_matches("_tensor"),
    };
    kind.into()
}

fn join(name: &str, key: &str) -> String {
    match name {
        "" => key.into(),
        _ => format!("{name}.{key}"),
    }
}
