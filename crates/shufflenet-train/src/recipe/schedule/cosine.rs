//! Half a cosine from the peak to the end: Loshchilov & Hutter 2016 (SGDR, eq. 5) without restarts, per
//! step rather than per epoch. With `e` the share of the peak rate at the end, after `t` of `n` steps:
//!
//! ```text
//! share = e + (1 - e) (1 + cos(pi t / n)) / 2
//! ```
//!
//! PyTorch's `CosineAnnealingLR(T_max=n, eta_min=e * peak)`.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::{Position, require_share};
use crate::error::TrainError;

/// Settings of `cosine`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cosine {
    /// Rate at the end of the run, as a fraction of the peak rate.
    pub end: f64,
}

impl Cosine {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        require_share("schedule.cosine.end", self.end)
    }

    pub(super) fn share(&self, at: Position) -> f64 {
        let progress = (at.step as f64 / at.steps as f64).min(1.0);
        self.end + (1.0 - self.end) * 0.5 * (1.0 + (PI * progress).cos())
    }
}
