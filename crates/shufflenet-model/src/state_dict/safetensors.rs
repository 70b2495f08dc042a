//! The tensors of a safetensors file.

use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::error::StateDictError;
use super::tensor::{ForeignTensor, Kind, Source, Tensors};

/// The length of the header in eight bytes, then the header, in JSON.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Tensors, StateDictError> {
    let file = SafeTensors::deserialize(bytes).map_err(|source| StateDictError::Safetensors {
        path: path.into(),
        source,
    })?;
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView)| {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::F32,
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::BF16,
            Dtype::F64 => Kind::F64,
            other => Kind::Other(format!("{other}")),
        };
        let source = Source::Bytes(view.data().into());
        let shape = view.shape().to_vec();
        (name.to_string(), ForeignTensor::rows(shape, kind, source))
    };
    Ok(file.iter().map(tensor).collect())
}
