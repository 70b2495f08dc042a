//! Times the host's part of a step on a device with a queue: the host enqueues kernels, and does not wait for them.

use std::time::Instant;

use burn::tensor::Device;
use serde::Serialize;

use crate::device::launches::{self, Launches};
use crate::display::words::thousands;
use crate::error::TrainError;

/// The host's part of a step.
#[derive(Clone, Debug, Serialize)]
pub struct Enqueued {
    /// Median time that the host takes to enqueue a step, in milliseconds.
    pub enqueue_ms: f64,
    /// Kernels of one step and the bytes that they move, counted in one more step after the timed steps.
    #[serde(flatten)]
    pub launches: Launches,
}

/// Times the host's part of each step.
#[derive(Default)]
pub struct Clock {
    ms: Vec<f64>,
}

impl Clock {
    /// Takes a step without waiting for the device.
    ///
    /// # Errors
    /// The errors of `step`.
    pub fn time(
        &mut self,
        step: impl FnOnce() -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let start = Instant::now();
        step()?;
        self.ms.push(start.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }

    /// The time of the steps without the first `warm_up`, and the launches of one more `step` on `device`.
    ///
    /// # Errors
    /// The errors of `step`; [`TrainError::Device`].
    pub fn read(
        mut self,
        warm_up: usize,
        device: &Device,
        step: impl FnOnce() -> Result<(), TrainError>,
    ) -> Result<Enqueued, TrainError> {
        let (taken, launches) = launches::count(device, step)?;
        taken?;
        let mut ms = self.ms.split_off(warm_up.min(self.ms.len()));
        ms.sort_by(f64::total_cmp);
        Ok(Enqueued {
            enqueue_ms: ms.get(ms.len() / 2).copied().unwrap_or(f64::NAN),
            launches,
        })
    }
}

impl std::fmt::Display for Enqueued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Launches {
            total,
            by_part,
            bytes,
            bytes_by_part,
            ..
        } = &self.launches;
        let parts = by_part
            .iter()
            .map(|(part, count)| format!("{part} {}", thousands(*count)));
        writeln!(f, "enqueue  {:.2} ms of the host a step", self.enqueue_ms)?;
        writeln!(
            f,
            "launches {} a step ({})",
            thousands(*total),
            parts.collect::<Vec<_>>().join(", ")
        )?;
        let parts = bytes_by_part
            .iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(part, bytes)| format!("{part} {}", size(*bytes)));
        writeln!(
            f,
            "bytes    {} a step, read and written by kernels of this project ({}); Burn's are not counted",
            size(*bytes),
            parts.collect::<Vec<_>>().join(", ")
        )
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        ..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
