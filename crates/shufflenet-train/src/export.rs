//! A trained network in a form that others read.

use std::path::Path;

use shufflenet_model::{to_onnx, to_state_dict};

use crate::checkpoint::Description;
use crate::device;
use crate::error::TrainError;
use crate::files::write_new;
use crate::trained::{self, Weights};

/// The form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A safetensors file that PyTorch's `load_state_dict(strict=True)` takes: torchvision's names for the
    /// standard layout, the listing's for the seed one.
    Safetensors,
    /// ONNX, with class names and normalisation as metadata.
    Onnx,
}

/// Writes the network of the checkpoint at `path` to the new file `out`; says what was written.
///
/// # Errors
/// What the checkpoint refuses; [`TrainError::Io`], also where `out` exists.
pub fn export(
    path: &Path,
    weights: Option<Weights>,
    format: Format,
    out: &Path,
) -> Result<String, TrainError> {
    let trained = trained::open(path, weights, &device::open(device::DEFAULT)?)?;
    let (network, description) = (&trained.classifier.network, &trained.checkpoint.description);
    let source = trained.folder.join(trained.weights);
    let [_, height, width] = description.input;
    let bytes = match format {
        Format::Safetensors => {
            to_state_dict(network).map_err(|source_error| TrainError::Weights {
                path: source.clone(),
                source: source_error,
            })?
        }
        Format::Onnx => {
            let properties = properties(description)?;
            to_onnx(network, [height, width], &properties).map_err(Box::new)?
        }
    };
    write_new(out, &bytes)?;
    Ok(format!(
        "{}: {}, {} stem, {} bytes",
        out.display(),
        network.config(),
        network.config().stem(),
        bytes.len()
    ))
}

/// What one needs besides the graph to classify an image; lists are in JSON.
fn properties(description: &Description) -> Result<Vec<(&'static str, String)>, TrainError> {
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| TrainError::Encode {
            what: "the model's metadata",
            message: error.to_string(),
        })
    };
    let normalization = &description.normalization;
    let colours = match description.input {
        [3, ..] => "RGB",
        _ => "grey",
    };
    Ok(vec![
        (
            "labels",
            json(serde_json::to_string(&description.class_names))?,
        ),
        ("mean", json(serde_json::to_string(&normalization.mean))?),
        ("std", json(serde_json::to_string(&normalization.std))?),
        ("input", json(serde_json::to_string(&description.input))?),
        (
            "pixels",
            format!(
                "channels x height x width, {colours}, scaled to 0..1, then (pixel - mean) / std"
            ),
        ),
    ])
}
