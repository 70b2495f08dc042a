//! A straight line from the peak to the end. With `e` the share of the peak rate at the end, after `t` of `n` steps:
//!
//! ```text
//! share = 1 + (e - 1) t / n
//! ```
//!
//! PyTorch's `LinearLR(start_factor=1, end_factor=e, total_iters=n)`.

use serde::{Deserialize, Serialize};

use super::{Position, require_share};
use crate::error::TrainError;

/// Settings of `linear`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Linear {
    /// Rate at the end of the run, as a fraction of the peak rate.
    pub end: f64,
}

impl Linear {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        require_share("schedule.linear.end", self.end)
    }

    pub(super) fn share(&self, at: Position) -> f64 {
        let progress = (at.step as f64 / at.steps as f64).min(1.0);
        1.0 + (self.end - 1.0) * progress
    }
}
