//! A trained network as a file for other programs.

use std::path::Path;

pub use shufflenet_model::Sizes;
use shufflenet_model::{to_onnx, to_state_dict};

use crate::checkpoint::description::Description;
use crate::device;
use crate::error::TrainError;
use crate::evaluation::predict::shorter_side;
use crate::evaluation::trained::{self, Weights};
use crate::files::{require_new_file, write_new};

/// The file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A safetensors file for PyTorch's `load_state_dict(strict=True)`, with torchvision's names for the standard layout
    /// and the seed network's names for the seed layout.
    Safetensors,
    /// ONNX, with class names and normalisation as metadata.
    Onnx,
}

/// Writes the network of the checkpoint at `path` to the new file `out`. `sizes` are those of images that an ONNX file
/// takes. Returns a line on what was written.
///
/// # Errors
/// Errors of the checkpoint; [`TrainError::Io`]; [`TrainError::Value`] where `out` exists, or for dynamic sizes in another
/// format than ONNX.
pub fn export(
    path: &Path,
    weights: Option<Weights>,
    format: ExportFormat,
    sizes: Sizes,
    out: &Path,
) -> Result<String, TrainError> {
    if (format, sizes) == (ExportFormat::Safetensors, Sizes::Dynamic) {
        return Err(TrainError::Value {
            key: "--dynamic-size".into(),
            found: "given with --format safetensors, whose files have no size".into(),
            accepted: "--dynamic-size with --format onnx".into(),
        });
    }
    require_new_file(out, "--out")?;
    let trained = trained::open(path, weights, &device::open(device::DEFAULT)?)?;
    let (network, description) = (&trained.classifier.network, &trained.checkpoint.description);
    let source = trained.folder.join(trained.weights);
    let [_, height, width] = description.input;
    let bytes = match format {
        ExportFormat::Safetensors => {
            to_state_dict(network).map_err(|source_error| TrainError::Weights {
                path: source.clone(),
                source: source_error,
            })?
        }
        ExportFormat::Onnx => {
            let properties = properties(description)?;
            to_onnx(network, [height, width], sizes, &properties).map_err(Box::new)?
        }
    };
    write_new(out, &bytes)?;
    Ok(format!(
        "{}: {}, {} bytes",
        out.display(),
        network.config().with_stem(),
        bytes.len()
    ))
}

/// Metadata that classifying an image needs besides the graph: the shorter side is resized to `resize`, then `crop` is
/// cropped from the middle. Lists are in JSON.
fn properties(description: &Description) -> Result<Vec<(&'static str, String)>, TrainError> {
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| TrainError::Encode {
            what: "the model's metadata",
            message: error.to_string(),
        })
    };
    let normalization = &description.normalization;
    let [_, height, width] = description.input;
    let resize = shorter_side(description);
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
        ("resize", resize.to_string()),
        ("crop", json(serde_json::to_string(&[height, width]))?),
        (
            "pixels",
            format!(
                "channels x height x width, {colours}, scaled to 0..1, then (pixel - mean) / std"
            ),
        ),
    ])
}
