//! The teacher's part of a training step.

use std::fmt;

use burn::tensor::Device;
use serde::Serialize;
use shufflenet_model::subnormals::flushed;

use super::{Workload, noise, time};
use crate::error::TrainError;
use crate::step::classifier::{Scores, pixels};
use crate::step::teacher::Teacher;

/// The time that a teacher alone takes for a batch.
#[derive(Clone, Debug, Serialize)]
pub struct Teaching {
    /// Median time of its logits, in milliseconds.
    pub teacher_ms: f64,
}

/// Times the logits of `teacher` for `batches` batches of `workload`, one after the other, with their copy to the host.
///
/// # Errors
/// [`TrainError::Device`].
pub(super) fn measure(
    teacher: &Teacher,
    workload: &Workload,
    batches: usize,
    device: &Device,
) -> Result<Teaching, TrainError> {
    let images = pixels(noise(workload), device);
    let mut times = time(workload.warm_up, workload.steps, 1, || {
        for _ in 0..batches {
            let logits = flushed(|| teacher.logits(&images));
            Scores { logits }.to_host()?;
        }
        Ok(())
    })?;
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2);
    Ok(Teaching {
        teacher_ms: median.copied().unwrap_or(f64::NAN),
    })
}

impl fmt::Display for Teaching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "teacher  {:.2} ms of each step", self.teacher_ms)
    }
}
