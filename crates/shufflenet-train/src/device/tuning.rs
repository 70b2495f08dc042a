//! The shapes that Burn's autotuner (feature `tuned`) treats as equal.
//!
//! The autotuner times its kernels once for each class of shapes. By default a class is wide: a sum of 1,024 numbers
//! and a sum of 131,072 are in one class, and the first of them chooses the kernel for both. Here the self-check's
//! small network comes first, and its choice took 3.4 ms where another kernel takes 0.12 (docs/gpu.md). A run has few
//! shapes, which are the same at every step. So each shape is tuned separately.

use std::env;

use burn::cubecl::config::autotune::AutotuneLevel;
use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

/// The environment variable by which a user may set the class of shapes.
const LEVEL: &str = "CUBECL_AUTOTUNE_LEVEL";

/// Makes the autotuner tune each shape separately, unless the environment sets it. It has no effect after a device has
/// started.
pub fn tune_each_shape() {
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    if env::var_os(LEVEL).is_none() {
        config.autotune.level = AutotuneLevel::Full;
    }
    CubeClRuntimeConfig::try_set(config);
}
