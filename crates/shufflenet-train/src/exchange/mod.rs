//! Exchange with other programs: imports weights, and exports weights, ONNX, models and a page.

mod card;
pub mod export;
pub mod import;
#[cfg(feature = "fetch")]
pub mod pretrained;
pub mod shipped;
pub mod web;

use std::path::Path;

use shufflenet_model::to_half_state_dict;

use crate::error::{TrainError, require};
use crate::evaluation::trained::Trained;

/// Refuses `out`, a folder to be made, if something is there.
fn require_new_folder(out: &Path) -> Result<(), TrainError> {
    let found = format!("{}, which exists", out.display());
    let is_new = out.symlink_metadata().is_err();
    require(is_new, "--out", found, "a folder to be made")
}

/// The network's tensors in float16, under the names of PyTorch's network.
fn in_float16(trained: &Trained) -> Result<Vec<u8>, TrainError> {
    to_half_state_dict(&trained.classifier.network).map_err(|source| TrainError::Weights {
        path: trained.folder.join(trained.weights),
        source,
    })
}
