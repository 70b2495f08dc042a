//! What activations are stored as between operations, and in what operations keep for the backward.

use serde::{Deserialize, Serialize};

/// What activations and their gradients are stored as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// bfloat16: half of float32's bytes.
    Bf16,
}

impl Precision {
    /// The precision's name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}
