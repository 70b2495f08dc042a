//! Drops by a factor at given epochs, counted from the start of the run (He et al., 2015, section 4.2).
//!
//! ```text
//! share = gamma ^ (milestones passed)
//! ```
//!
//! This is PyTorch's `MultiStepLR` with milestones in steps.

use serde::{Deserialize, Serialize};

use super::{Position, ScheduleKind};
use crate::error::{TrainError, require};

/// Settings of `multi_step`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MultiStep {
    /// Epochs after which the rate drops, in ascending order, the warm-up included; fractions are allowed.
    pub milestones: Vec<f64>,
    /// Factor of the rate at each milestone.
    pub gamma: f64,
}

impl Default for MultiStep {
    fn default() -> Self {
        Self {
            milestones: Vec::new(),
            gamma: 0.1,
        }
    }
}

impl MultiStep {
    pub(super) fn check(&self, kind: ScheduleKind) -> Result<(), TrainError> {
        let milestones = &self.milestones;
        let ascend = milestones
            .iter()
            .all(|epoch| *epoch > 0.0 && epoch.is_finite())
            && milestones.is_sorted_by(|a, b| a < b);
        let given = kind != ScheduleKind::MultiStep || !milestones.is_empty();
        require(
            ascend && given,
            "schedule.multi_step.milestones",
            format!("{milestones:?}"),
            "at least one epoch, each positive and larger than the one before",
        )?;
        require(
            self.gamma > 0.0 && self.gamma <= 1.0,
            "schedule.multi_step.gamma",
            self.gamma,
            "a number above 0, at most 1",
        )
    }

    pub(super) fn share(&self, at: Position) -> f64 {
        // A milestone between two steps takes effect at the later step.
        let passed = |epoch: &&f64| at.epochs >= **epoch - 1e-9;
        let drops = self.milestones.iter().filter(passed).count();
        self.gamma.powi(drops as i32)
    }
}
