//! Weight files in float16, which take half the bytes.
//!
//! A shipped network's weights are stored in float16, rounded to the nearest. Its running variances stay float32: a
//! channel that is hardly used has one below float16's smallest number, and the norm divides by its root. A file is widened
//! before it is loaded, which changes no value, so nothing else has to know the type.

use std::borrow::Cow;

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors};

use crate::network::ShuffleNetV2;
use crate::weights::{Encoded, WeightsError, encoded, serialize, with_counters};

/// The file of [`crate::to_state_dict`], with all tensors in float16 except running variances.
///
/// # Errors
/// Errors are those of [`crate::to_safetensors`]; [`WeightsError::TooLarge`].
pub fn to_half_state_dict(network: &ShuffleNetV2) -> Result<Vec<u8>, WeightsError> {
    let mut tensors = encoded(network)?;
    for (name, (dtype, _, bytes)) in &mut tensors {
        if !name.ends_with("running_var") {
            (*dtype, *bytes) = (Dtype::F16, narrowed(name, bytes)?);
        }
    }
    serialize(with_counters(tensors))
}

/// The float16 values of a tensor's float32 values.
fn narrowed(name: &str, bytes: &[u8]) -> Result<Vec<u8>, WeightsError> {
    let (chunks, _) = bytes.as_chunks::<4>();
    let mut narrow = Vec::with_capacity(bytes.len() / 2);
    for bytes in chunks {
        let value = f32::from_le_bytes(*bytes);
        let rounded = f16::from_f32(value);
        if rounded.is_infinite() {
            return Err(WeightsError::TooLarge {
                name: name.into(),
                found: value,
            });
        }
        narrow.extend(rounded.to_le_bytes());
    }
    Ok(narrow)
}

/// The safetensors file `bytes` with every float16 tensor in float32. Other tensors stay as they are.
///
/// # Errors
/// [`WeightsError::Format`].
pub(crate) fn widened(bytes: &[u8]) -> Result<Cow<'_, [u8]>, WeightsError> {
    let file = SafeTensors::deserialize(bytes)?;
    if file.iter().all(|(_, view)| view.dtype() != Dtype::F16) {
        return Ok(Cow::Borrowed(bytes));
    }
    let tensors = file.iter().map(|(name, view)| {
        let (dtype, bytes) = match view.dtype() {
            Dtype::F16 => (Dtype::F32, wide(view.data())),
            other => (other, view.data().to_vec()),
        };
        (name.to_string(), (dtype, view.shape().to_vec(), bytes))
    });
    Ok(Cow::Owned(serialize(tensors.collect::<Encoded>())?))
}

/// The float32 values of float16 values.
fn wide(bytes: &[u8]) -> Vec<u8> {
    let (chunks, _) = bytes.as_chunks::<2>();
    let values = chunks.iter().map(|bytes| f16::from_le_bytes(*bytes));
    values
        .flat_map(|value| value.to_f32().to_le_bytes())
        .collect()
}
