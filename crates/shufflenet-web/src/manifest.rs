//! What the page has to know of a network beside its weights: the file `model.json`.

use serde::{Deserialize, Serialize};
use shufflenet_image::Normalization;
use shufflenet_kernels::inference::{LayerNames, Parts};

/// The format of the file. A module refuses a newer one.
pub const MANIFEST_FORMAT: u32 = 1;

/// A network without its weights, and how images are prepared for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// Name of the network, in words.
    pub name: String,
    /// Licence of the weights, in words. Empty: none was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// SHA-256 of the weight file, in hexadecimal digits: weights of another export, or damaged ones, are refused.
    pub weights_sha256: String,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// Side of the square that the network sees, in pixels.
    pub size: u32,
    /// Shorter side of an image before the square is cut out of its middle, in pixels.
    pub resize: u32,
    /// Normalisation of the pixels.
    pub normalization: Normalization,
    /// The network's structure.
    pub network: Parts<LayerNames>,
}
