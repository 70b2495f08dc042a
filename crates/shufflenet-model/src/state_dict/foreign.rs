//! The named tensors of a file that another program wrote. Values are read on demand.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use half::{bf16, f16};
use pytorch_reader::{DType, FileFormat, PytorchError, PytorchReader};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::StateDictError;

pub(super) type Tensors = BTreeMap<String, ForeignTensor>;

pub(super) struct ForeignTensor {
    pub shape: Vec<usize>,
    pub kind: DType,
    /// Reads the tensor's values.
    pub bytes: Box<dyn Fn() -> io::Result<Vec<u8>>>,
}

impl ForeignTensor {
    /// Converts the tensor's little-endian values to float32; `None` for types that weights do not have.
    pub(super) fn floats(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        let two = bytes.as_chunks::<2>().0.iter();
        Some(match self.kind {
            DType::F32 => {
                let four = bytes.as_chunks::<4>().0.iter();
                four.map(|&bytes| f32::from_le_bytes(bytes)).collect()
            }
            DType::F64 => {
                let eight = bytes.as_chunks::<8>().0.iter();
                eight
                    .map(|&bytes| f64::from_le_bytes(bytes) as f32)
                    .collect()
            }
            DType::F16 => two
                .map(|&bytes| f16::from_le_bytes(bytes).to_f32())
                .collect(),
            DType::BF16 => two
                .map(|&bytes| bf16::from_le_bytes(bytes).to_f32())
                .collect(),
            _ => return None,
        })
    }
}

/// The tensors of a safetensors file.
pub(super) fn safetensors(path: &Path) -> Result<Tensors, StateDictError> {
    let bytes = std::fs::read(path).map_err(|source| StateDictError::Io {
        path: path.into(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|source| StateDictError::Safetensors {
        path: path.into(),
        source,
    })?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let kind = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            // Counters are skipped by name. Tensors of any other type fit nowhere and are reported by name.
            _ => DType::U8,
        };
        let bytes = view.data().to_vec();
        let tensor = ForeignTensor {
            shape: view.shape().to_vec(),
            kind,
            bytes: Box::new(move || Ok(bytes.clone())),
        };
        tensors.insert(name.to_string(), tensor);
    }
    Ok(tensors)
}

/// The tensors of a file written by `torch.save`, and the file format in words.
pub(super) fn pickle(path: &Path) -> Result<(String, Tensors), StateDictError> {
    let reader = PytorchReader::new(path).map_err(|error| match error {
        PytorchError::Io(source) if source.raw_os_error().is_some() => StateDictError::Io {
            path: path.into(),
            source,
        },
        other => StateDictError::Pickle {
            path: path.into(),
            message: other.to_string().replace('\n', " "),
        },
    })?;
    if reader.is_empty() {
        return Err(StateDictError::Pickle {
            path: path.into(),
            message: "there are none in it".into(),
        });
    }
    let kind = match reader.metadata().format_type {
        FileFormat::Zip => "PyTorch (zip)",
        FileFormat::Legacy => "PyTorch (legacy)",
        FileFormat::Tar => "PyTorch (tar)",
        FileFormat::Pickle => "pickle",
    };
    let tensor = |(name, tensor): (String, pytorch_reader::Tensor)| {
        let (_, kind, shape, bytes) = tensor.into_parts();
        let bytes = Box::new(bytes);
        (name, ForeignTensor { shape, kind, bytes })
    };
    Ok((
        kind.into(),
        reader.into_tensors().into_iter().map(tensor).collect(),
    ))
}
