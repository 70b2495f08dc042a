//! What Burn's autotuner (feature `tuned`) takes for one and the same shape.
//!
//! It times its kernels once for a class of shapes, and by default classes are wide: a sum of 1,024 numbers and
//! one of 131,072 are alike to it, so that whichever comes first chooses for both. Here the first is the
//! self-check's small network, and what it chose took 3.4 ms where 0.12 would do (docs/gpu.md). A run has few
//! shapes, and the same ones at every step: each is tuned for itself.

use std::env;

use burn::cubecl::config::autotune::AutotuneLevel;
use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

/// What a user may have set otherwise.
const LEVEL: &str = "CUBECL_AUTOTUNE_LEVEL";

/// Has each shape tuned for itself, unless the environment says otherwise. Without effect once a device has
/// started.
pub fn each_shape_for_itself() {
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    if env::var_os(LEVEL).is_none() {
        config.autotune.level = AutotuneLevel::Full;
    }
    CubeClRuntimeConfig::try_set(config);
}
