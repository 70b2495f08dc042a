//! Reads and writes safetensors files that PyTorch can write and read.
//!
//! A file holds float32 tensors (or float16, [`crate::float16`]) under the names of [`crate::names`], in PyTorch's shapes:
//! a linear weight is `[outputs, inputs]` there and `[inputs, outputs]` in Burn. Tensors are sorted by name, so the same
//! weights give the same bytes. Loading requires exactly the network's tensors: a tensor that is missing,
//! unused, of another shape or of another type is refused by name. A damaged or hostile file never causes a
//! panic. PyTorch's `num_batches_tracked` counters, which are not needed here, are skipped on reading and
//! written only for PyTorch ([`to_state_dict`]). Files from other programs go through [`crate::state_dict`]
//! first.

use std::collections::{BTreeMap, HashMap};

use burn::module::ParamId;
use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};

use crate::entries::{Entry, entries, put};
use crate::float16::widened;
use crate::network::ShuffleNetV2;
use crate::words::counted;

/// Weights that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// Bytes that are not a safetensors file, or a truncated file.
    #[error("no valid safetensors file: {0}")]
    Format(#[from] SafeTensorError),
    /// A tensor of the network that the file lacks.
    #[error(
        "tensor `{name}` of this {network} is missing from the file, which has {}",
        counted(*.found, "tensor", "tensors")
    )]
    Missing {
        /// The tensor's name in files.
        name: String,
        /// The network in words.
        network: String,
        /// Number of tensors in the file.
        found: usize,
    },
    /// A tensor of the file that the network lacks.
    #[error("tensor `{name}` in the file has no place in this {network}")]
    Unused {
        /// The tensor's name in the file.
        name: String,
        /// The network in words.
        network: String,
    },
    /// A tensor with another shape than the network's.
    #[error("tensor `{name}` is {found:?} in the file and {expected:?} in this {network}")]
    Shape {
        /// The tensor's name in files.
        name: String,
        /// Shape of the tensor in the file.
        found: Vec<usize>,
        /// Shape of the tensor in the network, in PyTorch's order.
        expected: Vec<usize>,
        /// The network in words.
        network: String,
    },
    /// A tensor with another element type than float32 and float16.
    #[error(
        "tensor `{name}` is of type {found} in the file: float32 (F32) and float16 (F16) are accepted"
    )]
    Type {
        /// The tensor's name in files.
        name: String,
        /// Element type of the tensor in the file.
        found: Dtype,
    },
    /// A value that is NaN or infinite, or a negative variance.
    #[error("tensor `{name}` holds {found} in the file; {accepted}")]
    Number {
        /// The tensor's name in files.
        name: String,
        /// The first such value.
        found: f32,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A value that float16 does not have.
    #[error("tensor `{name}` holds {found}: float16 ends at 65504")]
    TooLarge {
        /// The tensor's name in files.
        name: String,
        /// The first such value.
        found: f32,
    },
    /// A tensor that the device did not return.
    #[error("tensor `{name}` cannot be read from the device: {message}")]
    Device {
        /// The tensor's name in files.
        name: String,
        /// The device's error message.
        message: String,
    },
}

/// The ids and file names of the trainable parameters, in the order of the network's fields.
///
/// Ids are drawn anew in every process. Data about a parameter (an optimizer's state) must be stored under
/// the parameter's name.
pub fn parameters(network: &ShuffleNetV2) -> Vec<(ParamId, String)> {
    let trainable = entries(network).into_iter().filter(Entry::is_trainable);
    trainable.map(|entry| (entry.id, entry.file)).collect()
}

/// Number of trainable values. Burn's own count includes the running statistics.
pub fn num_parameters(network: &ShuffleNetV2) -> usize {
    let entries = entries(network);
    let trainable = entries.iter().filter(|entry| entry.is_trainable());
    trainable
        .map(|entry| entry.shape.iter().product::<usize>())
        .sum()
}

/// The network's weights and running statistics as a safetensors file.
///
/// # Errors
/// [`WeightsError::Device`] when the device does not return a tensor.
pub fn to_safetensors(network: &ShuffleNetV2) -> Result<Vec<u8>, WeightsError> {
    serialize(encoded(network)?)
}

/// The file of [`to_safetensors`] with batch norm's counters added, which `load_state_dict(strict=True)`
/// requires in newer versions of PyTorch. The counters are 0: PyTorch uses them only for norms without
/// momentum, and a network does not know how many batches it has seen.
///
/// # Errors
/// Errors are those of [`to_safetensors`].
pub fn to_state_dict(network: &ShuffleNetV2) -> Result<Vec<u8>, WeightsError> {
    serialize(with_counters(encoded(network)?))
}

/// `tensors` with batch norm's counters.
pub(crate) fn with_counters(mut tensors: Encoded) -> Encoded {
    let counters: Vec<String> = tensors
        .keys()
        .filter_map(|name| Some(format!("{}{COUNTER}", name.strip_suffix("running_mean")?)))
        .collect();
    let zero = (Dtype::I64, Vec::new(), vec![0; 8]);
    tensors.extend(counters.into_iter().map(|name| (name, zero.clone())));
    tensors
}

/// A safetensors file without tensors: the optimizer's state for a network that was trained elsewhere.
///
/// # Errors
/// No cause of an error is known.
pub fn no_tensors() -> Result<Vec<u8>, WeightsError> {
    serialize(Encoded::new())
}

/// PyTorch's name for the number of batches that a batch norm has seen.
pub(crate) const COUNTER: &str = "num_batches_tracked";

/// A tensor in the form of weight files: PyTorch's shape, row by row.
pub(crate) struct StoredTensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Every float tensor of the network, by its name in files.
pub(crate) fn stored(
    network: &ShuffleNetV2,
) -> Result<BTreeMap<String, StoredTensor>, WeightsError> {
    let stored = |entry: Entry| {
        let data = entry
            .values
            .try_into_data()
            .map_err(|error| WeightsError::Device {
                name: entry.file.clone(),
                message: error.to_string(),
            })?;
        let mut values: Vec<f32> = data.iter::<f32>().collect();
        if let [inputs, outputs] = entry.shape[..] {
            values = transposed(&values, inputs, outputs);
        }
        let shape = pytorch_shape(&entry.shape);
        Ok((entry.file, StoredTensor { shape, values }))
    };
    entries(network).into_iter().map(stored).collect()
}

/// Type, shape and bytes by name.
pub(crate) type Encoded = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

pub(crate) fn encoded(network: &ShuffleNetV2) -> Result<Encoded, WeightsError> {
    let encode = |(name, tensor): (String, StoredTensor)| {
        let bytes = tensor.values.iter().flat_map(|x| x.to_le_bytes()).collect();
        (name, (Dtype::F32, tensor.shape, bytes))
    };
    Ok(stored(network)?.into_iter().map(encode).collect())
}

pub(crate) fn serialize(tensors: Encoded) -> Result<Vec<u8>, WeightsError> {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| {
            Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, SafeTensorError>>()?;
    // Some readers need to know which framework's shapes these are. There is only one entry, because a hash
    // map would write several in random order.
    let header = HashMap::from([("format".to_string(), "pt".to_string())]);
    Ok(safetensors::serialize(views, Some(header))?)
}

/// Loads the weights and running statistics of a safetensors file into `network`, which keeps its device
/// and its parameter ids.
///
/// # Errors
/// Any [`WeightsError`] unless the file holds exactly this network's tensors.
pub fn load_safetensors(network: ShuffleNetV2, bytes: &[u8]) -> Result<ShuffleNetV2, WeightsError> {
    let bytes = widened(bytes)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let mut stored: BTreeMap<&str, TensorView> = file
        .iter()
        .filter(|(name, _)| !name.ends_with(COUNTER))
        .collect();
    let found = stored.len();
    let in_words = network.config().to_string();
    let mut tensors = HashMap::new();
    for Entry {
        path,
        file: name,
        shape,
        ..
    } in entries(&network)
    {
        let Some(view) = stored.remove(name.as_str()) else {
            let network = in_words;
            return Err(WeightsError::Missing {
                name,
                network,
                found,
            });
        };
        tensors.insert(path, read(name, &view, &shape, &in_words)?);
    }
    if let Some(name) = stored.keys().next() {
        return Err(WeightsError::Unused {
            name: (*name).into(),
            network: in_words,
        });
    }
    Ok(put(network, tensors))
}

/// The values of a PyTorch tensor in Burn's `shape`.
pub(crate) fn from_pytorch(values: Vec<f32>, shape: &[usize]) -> TensorData {
    let values = match *shape {
        [inputs, outputs] => transposed(&values, outputs, inputs),
        _ => values,
    };
    TensorData::new(values, shape.to_vec())
}

/// The values of a stored tensor in Burn's shape.
fn read(
    name: String,
    view: &TensorView,
    shape: &[usize],
    network: &str,
) -> Result<TensorData, WeightsError> {
    if view.dtype() != Dtype::F32 {
        return Err(WeightsError::Type {
            name,
            found: view.dtype(),
        });
    }
    let expected = pytorch_shape(shape);
    if view.shape() != expected {
        let (found, network) = (view.shape().to_vec(), network.to_string());
        return Err(WeightsError::Shape {
            name,
            found,
            expected,
            network,
        });
    }
    let (chunks, _) = view.data().as_chunks::<4>();
    let values = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let values: Vec<f32> = values.collect();
    match first_invalid_value(&name, &values) {
        Some((found, accepted)) => Err(WeightsError::Number {
            name,
            found,
            accepted,
        }),
        None => Ok(from_pytorch(values, shape)),
    }
}

/// The first value of a tensor that no trained network has, and what is accepted instead.
pub(crate) fn first_invalid_value(name: &str, values: &[f32]) -> Option<(f32, &'static str)> {
    let is_variance = name.ends_with("running_var");
    let wrong = |&&value: &&f32| !value.is_finite() || is_variance && value < 0.0;
    let found = values.iter().find(wrong)?;
    let accepted = match is_variance {
        true => "finite numbers of 0 and above are accepted",
        false => "finite numbers are accepted",
    };
    Some((*found, accepted))
}

/// PyTorch's shape. PyTorch stores the weight of a linear layer, the only weight of rank 2, transposed.
pub(crate) fn pytorch_shape(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [inputs, outputs] => vec![outputs, inputs],
        _ => shape.to_vec(),
    }
}

/// The transpose of a `rows x columns` matrix, row by row.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let column = |c| values.iter().skip(c).step_by(columns).take(rows);
    (0..columns).flat_map(column).copied().collect()
}
