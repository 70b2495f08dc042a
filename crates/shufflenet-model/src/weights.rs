//! Weights to and from safetensors files that PyTorch reads and writes.
//!
//! A file holds float32 tensors under the names of [`crate::names`], in PyTorch's shapes: a linear
//! weight is `[outputs, inputs]` there and `[inputs, outputs]` in Burn. Tensors are sorted by name,
//! so that the same weights give the same bytes. Loading wants exactly the network's tensors: what
//! is missing, left over, of another shape or of another type is refused by name, and nothing in a
//! damaged or hostile file panics. Only PyTorch's `num_batches_tracked` counters, which nothing
//! here uses, are passed over, and written only for PyTorch ([`to_state_dict`]). Files of others go through
//! [`crate::state_dict`] first.

use std::collections::{BTreeMap, HashMap};

use burn::module::ParamId;
use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};

use crate::entries::{Entry, entries, put};
use crate::network::ShuffleNetV2;

/// Weights that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// Bytes that are no safetensors file, or a truncated one.
    #[error("no valid safetensors file: {0}")]
    Format(#[from] SafeTensorError),
    /// A tensor of the network that the file lacks.
    #[error(
        "tensor `{name}` of this {network} is missing from the file, which has {found} tensors"
    )]
    Missing {
        /// The tensor's name in files.
        name: String,
        /// The network, in words.
        network: String,
        /// How many tensors the file has.
        found: usize,
    },
    /// A tensor of the file that the network lacks.
    #[error("tensor `{name}` in the file has no place in this {network}")]
    Unused {
        /// The tensor's name in the file.
        name: String,
        /// The network, in words.
        network: String,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}` is {found:?} in the file and {expected:?} in this {network}")]
    Shape {
        /// The tensor's name in files.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape in the network, as PyTorch has it.
        expected: Vec<usize>,
        /// The network, in words.
        network: String,
    },
    /// A tensor of another element type.
    #[error("tensor `{name}` is of type {found} in the file: float32 (F32) is accepted")]
    Type {
        /// The tensor's name in files.
        name: String,
        /// The type in the file.
        found: Dtype,
    },
    /// The device did not give a tensor back.
    #[error("tensor `{name}` cannot be read from the device: {message}")]
    Device {
        /// The tensor's name in files.
        name: String,
        /// What the device said.
        message: String,
    },
}

/// The trainable parameters, ids and names in files, in the order of the network's fields.
///
/// Ids are drawn anew in every process, so whatever is stored about a parameter (an optimizer's
/// state) is to be stored under its name.
pub fn parameters(network: &ShuffleNetV2) -> Vec<(ParamId, String)> {
    let trainable = entries(network).into_iter().filter(Entry::is_trainable);
    trainable.map(|entry| (entry.id, entry.file)).collect()
}

/// How many numbers training adjusts. Burn's own count includes the running statistics.
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
/// [`WeightsError::Device`] when the device does not give a tensor back.
pub fn to_safetensors(network: &ShuffleNetV2) -> Result<Vec<u8>, WeightsError> {
    serialize(encoded(network)?)
}

/// The same with batch norm's counters, which `load_state_dict(strict=True)` looks for in newer versions
/// of PyTorch. They are 0: PyTorch uses them for norms without momentum alone, and a network does not
/// know how many batches it has seen.
///
/// # Errors
/// As [`to_safetensors`].
pub fn to_state_dict(network: &ShuffleNetV2) -> Result<Vec<u8>, WeightsError> {
    let mut tensors = encoded(network)?;
    let counters: Vec<String> = tensors
        .keys()
        .filter_map(|name| Some(format!("{}{COUNTER}", name.strip_suffix("running_mean")?)))
        .collect();
    let zero = (Dtype::I64, Vec::new(), vec![0; 8]);
    tensors.extend(counters.into_iter().map(|name| (name, zero.clone())));
    serialize(tensors)
}

/// A safetensors file without a tensor: the optimizer's state of a network that was trained elsewhere.
///
/// # Errors
/// None that is known.
pub fn no_tensors() -> Result<Vec<u8>, WeightsError> {
    serialize(Encoded::new())
}

/// What PyTorch calls the number of batches that a batch norm has seen.
pub(crate) const COUNTER: &str = "num_batches_tracked";

/// A tensor as files have it: PyTorch's shape, row after row.
pub(crate) struct StoredTensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Every float tensor of the network by its name in files.
pub(crate) fn stored(
    network: &ShuffleNetV2,
) -> Result<BTreeMap<String, StoredTensor>, WeightsError> {
    let stored = |entry: Entry| {
        let data = entry
            .values
            .try_into_data()
            .map_err(|error| WeightsError::Device {
                name: entry.file.clone(),
                message: format!("{error:?}"),
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
type Encoded = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn encoded(network: &ShuffleNetV2) -> Result<Encoded, WeightsError> {
    let encode = |(name, tensor): (String, StoredTensor)| {
        let bytes = tensor.values.iter().flat_map(|x| x.to_le_bytes()).collect();
        (name, (Dtype::F32, tensor.shape, bytes))
    };
    Ok(stored(network)?.into_iter().map(encode).collect())
}

fn serialize(tensors: Encoded) -> Result<Vec<u8>, WeightsError> {
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| {
            Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, SafeTensorError>>()?;
    // Some readers ask which framework's shapes these are. One entry only: more would be written in
    // the random order of a hash map.
    let header = HashMap::from([("format".to_string(), "pt".to_string())]);
    Ok(safetensors::serialize(views, Some(header))?)
}

/// `network` with the weights and running statistics of a safetensors file, on the device and with
/// the parameter ids that it had.
///
/// # Errors
/// [`WeightsError`], unless the file holds exactly this network's tensors.
pub fn load_safetensors(network: ShuffleNetV2, bytes: &[u8]) -> Result<ShuffleNetV2, WeightsError> {
    let file = SafeTensors::deserialize(bytes)?;
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

/// The values of a tensor of PyTorch's, as Burn has it in `shape`.
pub(crate) fn from_pytorch(values: Vec<f32>, shape: &[usize]) -> TensorData {
    let values = match *shape {
        [inputs, outputs] => transposed(&values, outputs, inputs),
        _ => values,
    };
    TensorData::new(values, shape.to_vec())
}

/// The values of a stored tensor, as Burn shapes them.
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
    Ok(from_pytorch(values.collect(), shape))
}

/// PyTorch stores the weight of a linear layer, the only one of rank 2, transposed.
pub(crate) fn pytorch_shape(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [inputs, outputs] => vec![outputs, inputs],
        _ => shape.to_vec(),
    }
}

/// The transpose of a `rows x columns` matrix, row after row.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let column = |c| values.iter().skip(c).step_by(columns).take(rows);
    (0..columns).flat_map(column).copied().collect()
}
