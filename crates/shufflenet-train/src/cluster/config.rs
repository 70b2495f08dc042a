//! The section `[cluster]` of an experiment.

use serde::{Deserialize, Serialize};

use crate::error::{TrainError, require};

/// How ranks work together. It has no effect on a process that trains alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// Whether batch norm takes its statistics over the whole batch, as one process does, at the price of two
    /// small messages for each norm and step. Otherwise it takes them over each rank's images, and the number of
    /// ranks becomes a part of the experiment.
    pub sync_batch_norm: bool,
    /// Seconds that ranks wait for another. Then the job ends with an error. It must be longer than the longest step,
    /// checkpoint or evaluation.
    pub timeout_seconds: u64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            sync_batch_norm: true,
            timeout_seconds: 60,
        }
    }
}

impl ClusterConfig {
    /// Checks that the settings are in range.
    ///
    /// # Errors
    /// [`TrainError::Value`].
    pub fn check(&self) -> Result<(), TrainError> {
        require(
            (1..=86_400).contains(&self.timeout_seconds),
            "cluster.timeout_seconds",
            self.timeout_seconds,
            "a whole number from 1 to 86400",
        )
    }
}
