//! A network and the preparation of its images.

use half::f16;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use shufflenet_image::{Preparation, ValueError};
use shufflenet_kernels::Precision;
use shufflenet_kernels::inference::{Chain, Folded, FrozenNorm, LayerNames};

use crate::manifest::{MANIFEST_FORMAT, Manifest};

/// Value that a batch norm adds to the variance, PyTorch's default.
const EPSILON: f64 = 1e-5;

/// A network, ready to classify.
pub struct Classifier {
    preparation: Preparation,
    chain: Chain,
}

/// Why a network cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The manifest is not what this module reads.
    #[error("model.json: {0}")]
    Manifest(#[from] serde_json::Error),
    /// The manifest has another format.
    #[error("model.json: its format is {found}, accepted: {MANIFEST_FORMAT}")]
    Format {
        /// The format that was found.
        found: u32,
    },
    /// The manifest has a value that cannot work.
    #[error("model.json: {0}")]
    Value(#[from] ValueError),
    /// The weight file is damaged, or has no tensor of a name.
    #[error("the weights: {0}")]
    Weights(#[from] SafeTensorError),
    /// The weight file is another than that of the manifest.
    #[error("the weights are damaged, or of another network than model.json")]
    OtherWeights,
    /// A tensor of another type.
    #[error("the weights: {name} is of type {found:?}, accepted: float16 and float32")]
    Type {
        /// Name of the tensor.
        name: String,
        /// Type of the tensor.
        found: Dtype,
    },
}

impl Classifier {
    /// Reads a network from its manifest and its weights, a safetensors file.
    ///
    /// # Errors
    /// What cannot be read, in words.
    ///
    /// # Panics
    /// If the layers do not fit each other, which no exported network's do.
    pub fn new(manifest: &[u8], weights: &[u8]) -> Result<Self, WebError> {
        let manifest: Manifest = serde_json::from_slice(manifest)?;
        if manifest.format != MANIFEST_FORMAT {
            return Err(WebError::Format {
                found: manifest.format,
            });
        }
        if sha256(weights) != manifest.weights_sha256 {
            return Err(WebError::OtherWeights);
        }
        let (size, resize) = (manifest.size, manifest.resize);
        let preparation = Preparation::new(size, resize, &manifest.normalization)?;
        let weights = SafeTensors::deserialize(weights)?;
        let parts = manifest.network.map(|names| folded(&weights, names))?;
        let chain = Chain::new(&parts, Precision::F32);
        equal("class_names", manifest.class_names.len(), chain.classes())?;
        equal(
            "normalization",
            preparation.shape()[0],
            chain.input_channels(),
        )?;
        Ok(Self { preparation, chain })
    }

    /// The pixels that the network sees of an encoded image, `[channels, size, size]`.
    ///
    /// # Errors
    /// Why the image cannot be decoded, in words.
    pub fn prepare(&self, image: &[u8]) -> Result<Vec<f32>, String> {
        self.preparation.pixels(image)
    }

    /// The logits of prepared pixels, one a class.
    pub fn logits(&self, pixels: &[f32]) -> Vec<f32> {
        let [_, height, width] = self.preparation.shape();
        self.chain.run(pixels, [1, height, width])
    }
}

/// SHA-256 of `bytes`, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses a number of values that the network does not have.
fn equal(what: &str, found: usize, expected: usize) -> Result<(), ValueError> {
    match found == expected {
        true => Ok(()),
        false => Err(ValueError::new(
            what,
            format!("{found} values"),
            format!("{expected}, as the network has"),
        )),
    }
}

fn folded(weights: &SafeTensors, names: &LayerNames) -> Result<Folded, WebError> {
    let values = |name: &str| values(name, &weights.tensor(name)?);
    match names {
        LayerNames::Conv { weight, norm } => {
            let [gamma, beta, mean, variance] = norm;
            Ok(Folded::new(
                values(weight)?,
                &FrozenNorm {
                    gamma: &values(gamma)?,
                    beta: &values(beta)?,
                    mean: &values(mean)?,
                    variance: &values(variance)?,
                    epsilon: EPSILON,
                },
            ))
        }
        LayerNames::Linear { weight, bias } => Ok(Folded {
            weight: values(weight)?,
            bias: values(bias)?,
        }),
    }
}

/// A tensor's values in float32.
fn values(name: &str, tensor: &TensorView) -> Result<Vec<f32>, WebError> {
    let bytes = tensor.data();
    match tensor.dtype() {
        Dtype::F16 => {
            let values = bytes.as_chunks::<2>().0.iter();
            Ok(values.map(|x| f16::from_le_bytes(*x).to_f32()).collect())
        }
        Dtype::F32 => {
            let values = bytes.as_chunks::<4>().0.iter();
            Ok(values.map(|x| f32::from_le_bytes(*x)).collect())
        }
        found => Err(WebError::Type {
            name: name.into(),
            found,
        }),
    }
}
