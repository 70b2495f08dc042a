//! Multiplies the rate by one factor in every step.
//!
//! ```text
//! share = gamma ^ (epochs since the warm-up)
//! ```
//!
//! PyTorch's `ExponentialLR` with the factor of a step, `gamma ^ (1 / steps per epoch)`.

use serde::{Deserialize, Serialize};

use super::Position;
use crate::error::{TrainError, require};

/// Settings of `exponential`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exponential {
    /// Factor of the rate over an epoch; it is spread over the epoch's steps.
    pub gamma: f64,
}

impl Default for Exponential {
    fn default() -> Self {
        Self { gamma: 0.97 }
    }
}

impl Exponential {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        require(
            self.gamma > 0.0 && self.gamma <= 1.0,
            "schedule.exponential.gamma",
            self.gamma,
            "a number above 0, at most 1",
        )
    }

    pub(super) fn share(&self, at: Position) -> f64 {
        self.gamma.powf(at.epochs_since_warmup)
    }
}
