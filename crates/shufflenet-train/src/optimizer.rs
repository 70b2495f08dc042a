//! SGD on Burn's module optimizer, and its state as a safetensors file.
//!
//! Burn keys optimizer state by parameter ids that are random in every process, and a record loaded
//! under other ids is skipped without a word: momentum silently lost. So state is stored under the
//! parameter's *name* (`stage2.0.branch1.0.weight/momentum.velocity`), sorted, and rebound to the ids
//! of the model at hand when it is loaded; a parameter without state, or state without a parameter,
//! is refused.

use std::collections::{BTreeMap, HashMap};

use burn::module::ParamId;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{ModuleOptimizer, OptimizerRecord, SgdConfig};
use burn::tensor::{Bytes, DType, Shape};
use burn_pack::{Reader, Scalar, Tensor, Writer};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::experiment::OptimizerConfig;

/// The optimizer of an experiment, without state.
pub fn build(config: &OptimizerConfig) -> ModuleOptimizer {
    let mut sgd = SgdConfig::new();
    if config.momentum > 0.0 {
        // Burn's default dampening is 0.1; PyTorch's, and every published recipe's, is 0.
        let momentum = MomentumConfig::new()
            .with_momentum(config.momentum)
            .with_dampening(0.0)
            .with_nesterov(config.nesterov);
        sgd = sgd.with_momentum(Some(momentum));
    }
    if config.weight_decay > 0.0 {
        let decay = WeightDecayConfig::new(config.weight_decay as f32);
        sgd = sgd.with_weight_decay(Some(decay));
    }
    sgd.init()
}

/// The scalars of Burn's optimizer record and the module path of each parameter, under names
/// instead of ids. One JSON text in the safetensors header, sorted, so that the bytes are stable.
#[derive(Default, Serialize, Deserialize)]
struct Extra {
    scalars: BTreeMap<String, Number>,
    paths: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
enum Number {
    Int(i64),
    UInt(u64),
    Float(f64),
    Bool(bool),
}

const EXTRA: &str = "optimizer";
/// Between a parameter's name and the field of its state; neither contains it.
const SEPARATOR: char = '/';

/// The optimizer's state as a safetensors file. `parameters` gives each id its name.
///
/// # Errors
/// In words: state of a parameter that has no name, or of a type other than float32.
pub fn to_safetensors(
    optimizer: &ModuleOptimizer,
    parameters: &[(ParamId, String)],
) -> Result<Vec<u8>, String> {
    let names: HashMap<String, &str> = parameters
        .iter()
        .map(|(id, name)| (id.val().to_string(), name.as_str()))
        .collect();
    let named = |key: &str| {
        let (id, field) = key.split_once('.')?;
        Some(format!("{}{SEPARATOR}{field}", names.get(id)?))
    };
    let nameless = |key: &str| format!("state `{key}` belongs to no parameter of the network");
    let bytes = optimizer.into_bytes().map_err(|e| e.to_string())?;
    let reader = Reader::from_bytes(bytes).map_err(|e| e.to_string())?;
    let mut extra = Extra::default();
    for (key, scalar) in reader.scalars() {
        let number = match *scalar {
            Scalar::Int(x) => Number::Int(x),
            Scalar::UInt(x) => Number::UInt(x),
            Scalar::Float(x) => Number::Float(x),
            Scalar::Bool(x) => Number::Bool(x),
        };
        let name = named(key).ok_or_else(|| nameless(key))?;
        extra.scalars.insert(name, number);
    }
    for (id, path) in reader.metadata() {
        let name = names.get(id).ok_or_else(|| nameless(id))?;
        extra.paths.insert((*name).into(), path.clone());
    }
    let mut tensors = BTreeMap::new();
    for tensor in reader.into_tensors().map_err(|e| e.to_string())? {
        let (key, dtype, shape, _, bytes) = tensor.into_parts().map_err(|e| e.to_string())?;
        if dtype != DType::F32 {
            return Err(format!("state `{key}` is {dtype:?}, not float32"));
        }
        let name = named(&key).ok_or_else(|| nameless(&key))?;
        tensors.insert(name, (shape.as_slice().to_vec(), bytes));
    }
    let views = tensors
        .iter()
        .map(|(name, (shape, bytes))| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            Ok((name.as_str(), view.map_err(|e| e.to_string())?))
        })
        .collect::<Result<Vec<_>, String>>()?;
    let extra = serde_json::to_string(&extra).map_err(|e| e.to_string())?;
    let header = HashMap::from([(EXTRA.to_string(), extra)]);
    safetensors::serialize(views, Some(header)).map_err(|e| e.to_string())
}

/// Gives `optimizer` the state stored in `bytes`, bound to the parameters at hand.
///
/// # Errors
/// In words: bytes that are no safetensors file of ours, and parameters and state that do not match.
pub fn load_safetensors(
    optimizer: ModuleOptimizer,
    bytes: &[u8],
    parameters: &[(ParamId, String)],
) -> Result<ModuleOptimizer, String> {
    let ids: HashMap<&str, ParamId> = parameters
        .iter()
        .map(|(id, name)| (name.as_str(), *id))
        .collect();
    let rebind = |key: &str| {
        let (name, field) = key.split_once(SEPARATOR)?;
        let id = *ids.get(name)?;
        Some((id.val(), format!("{}.{field}", id.val())))
    };
    let foreign = |key: &str| format!("`{key}` belongs to no parameter of the network");
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let extra = header
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(EXTRA))
        .ok_or("no optimizer state in its header")?;
    let extra: Extra = serde_json::from_str(extra).map_err(|e| e.to_string())?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut tensors = Vec::new();
    for (key, view) in file.tensors() {
        let (id, name) = rebind(&key).ok_or_else(|| foreign(&key))?;
        if view.dtype() != Dtype::F32 {
            return Err(format!("`{key}` is {:?}, not float32", view.dtype()));
        }
        let shape = Shape::from(view.shape().to_vec());
        let bytes = Bytes::from_bytes_vec(view.data().to_vec());
        tensors.push(Tensor::new(name, DType::F32, shape, Some(id), bytes));
    }
    if !extra.paths.is_empty()
        && let Some((_, missing)) = parameters
            .iter()
            .find(|(_, name)| !extra.paths.contains_key(name))
    {
        return Err(format!("no state for parameter `{missing}`"));
    }
    let mut writer = Writer::new(tensors);
    for (key, number) in extra.scalars {
        let scalar = match number {
            Number::Int(x) => Scalar::Int(x),
            Number::UInt(x) => Scalar::UInt(x),
            Number::Float(x) => Scalar::Float(x),
            Number::Bool(x) => Scalar::Bool(x),
        };
        let (_, name) = rebind(&key).ok_or_else(|| foreign(&key))?;
        writer = writer.with_scalar(&name, scalar);
    }
    for (name, path) in extra.paths {
        let id = ids.get(name.as_str()).ok_or_else(|| foreign(&name))?;
        writer = writer.with_metadata(&id.val().to_string(), &path);
    }
    let bytes = writer.into_bytes().map_err(|e| e.to_string())?;
    let record = OptimizerRecord::from_bytes(bytes).map_err(|e| e.to_string())?;
    Ok(optimizer.load_record(record))
}
