//! A line of `metrics.jsonl`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::evaluation::tally::Metrics;

/// One line. `epoch` counts from 1, `step` counts the optimizer steps taken.
#[derive(Clone, Serialize, Deserialize)]
pub struct Line<'a> {
    /// `step` (the training epoch so far), `epoch` (the end of an epoch) or `test` (the end of the run).
    pub event: &'a str,
    /// The epoch.
    pub epoch: usize,
    /// The step.
    pub step: usize,
    /// `train`, `validation` or `test`.
    pub split: &'a str,
    /// `ema` if the moving average of the weights was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<&'a str>,
    /// Loss, top-1, top-5 and the number of records.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Learning rate of the last step taken. 0 in the line of the event `test`, which takes no step.
    pub lr: f64,
    /// Images per second. `None`: the process that wrote the line took no step of the epoch, because another process took
    /// them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub img_per_s: Option<f64>,
    /// Time of writing, in seconds since 1970. 0 in lines of versions that did not record it.
    #[serde(default)]
    pub time: f64,
}

/// Seconds since 1970.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |time| time.as_secs_f64())
}
