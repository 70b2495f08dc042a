//! The state of an optimizer as a safetensors file.
//!
//! Parameters have ids that are random in every process. So the state is stored under the parameter's *name*
//! (`stage2.0.branch1.0.weight/momentum.velocity`), sorted, and assigned to the ids of the network when it is
//! loaded. A parameter without its state, or state without a parameter, is refused.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::Optimizer;
use crate::refusals;

/// The part of the state that is not a tensor: a JSON text in the safetensors header.
#[derive(Serialize, Deserialize)]
struct Extra {
    /// Steps taken. Absent in files of early versions, which did not count steps and had only SGD.
    #[serde(default)]
    steps: u64,
}

const EXTRA: &str = "optimizer";
/// The separator between a parameter's name and that of its state. Neither contains it.
const SEPARATOR: char = '/';

impl Optimizer {
    /// The optimizer's state as a safetensors file, each tensor in its parameter's shape.
    ///
    /// # Errors
    /// The error of the device or of the file format, in words.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, String> {
        let mut tensors = BTreeMap::new();
        for (id, remembered) in &self.remembered {
            let Some(parameter) = self.parameters.get(id) else {
                continue;
            };
            for (field, values) in remembered {
                let data = values.clone().try_into_data().map_err(|e| e.to_string())?;
                let bytes: Vec<u8> = data.iter::<f32>().flat_map(f32::to_le_bytes).collect();
                let name = format!("{}{SEPARATOR}{field}", parameter.name);
                tensors.insert(name, (parameter.shape.clone(), bytes));
            }
        }
        let views = tensors
            .iter()
            .map(|(name, (shape, bytes))| {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
                Ok((name.as_str(), view.map_err(|e| e.to_string())?))
            })
            .collect::<Result<Vec<_>, String>>()?;
        let extra = Extra { steps: self.steps };
        let extra = serde_json::to_string(&extra).map_err(|e| e.to_string())?;
        let header = HashMap::from([(EXTRA.to_string(), extra)]);
        safetensors::serialize(views, Some(header)).map_err(|e| e.to_string())
    }

    /// This optimizer with the state stored in `bytes`, on `device`.
    ///
    /// # Errors
    /// In words: bytes that are not such a file, or parameters and state that do not match.
    pub fn load_safetensors(mut self, bytes: &[u8], device: &Device) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        let extra = header
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(EXTRA))
            .ok_or("no optimizer state in its header")?;
        let extra: Extra = refusals::from_json(extra.as_bytes())?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let mut stored: BTreeMap<String, TensorView> = file.tensors().into_iter().collect();
        self.steps = extra.steps;
        if stored.is_empty() && extra.steps == 0 {
            return Ok(self);
        }
        for (id, parameter) in &self.parameters {
            for field in parameter.rule.remembers() {
                let name = format!("{}{SEPARATOR}{field}", parameter.name);
                let view = stored.remove(&name);
                let view = view.ok_or_else(|| {
                    format!("no state `{field}` for parameter `{}`", parameter.name)
                })?;
                let values = values(&name, &view, &parameter.shape)?;
                let data = TensorData::new(values, [view.shape().iter().product::<usize>()]);
                let tensor = Tensor::<1>::from_data(data, device);
                let tensor = if device.is_autodiff() {
                    tensor.inner()
                } else {
                    tensor
                };
                self.remembered
                    .entry(*id)
                    .or_default()
                    .insert(field, tensor);
            }
        }
        match stored.keys().next() {
            Some(name) => Err(format!("`{name}` belongs to no parameter that is trained")),
            None => Ok(self),
        }
    }
}

/// The numbers of a stored tensor, which must have the given shape.
fn values(name: &str, view: &TensorView, shape: &[usize]) -> Result<Vec<f32>, String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("`{name}` is {:?}, not float32", view.dtype()));
    }
    if view.shape() != shape {
        return Err(format!("`{name}` is {:?}, not {shape:?}", view.shape()));
    }
    let (chunks, _) = view.data().as_chunks::<4>();
    Ok(chunks.iter().map(|x| f32::from_le_bytes(*x)).collect())
}
