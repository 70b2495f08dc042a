//! A trained network as a WebAssembly module: an image's bytes in, probabilities out.
//!
//! `shufflenet export --format web` writes this module beside a page, the network's weights in float16 (the file that
//! `--format model` writes, too) and a [`Manifest`]. Images are decoded and prepared by `shufflenet-image` and
//! classified by `shufflenet-kernels`, as `shufflenet predict` does. `scripts/build_web` builds the module.

mod classifier;
// Of names without mangling, which must not meet others in a binary.
#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "the page and the module share memory")]
mod exports;
mod manifest;

pub use classifier::{Classifier, WebError, sha256};
pub use manifest::{MANIFEST_FORMAT, Manifest};
pub use shufflenet_kernels::inference::LayerNames;
