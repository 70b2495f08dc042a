//! The result of a benchmark, as JSON and in words.

use serde::Serialize;
use shufflenet_model::Precision;

use super::Workload;
use super::enqueued::Enqueued;
use super::teaching::Teaching;
use crate::device::machine;
use crate::display::words::counted;

/// Result of a benchmark. Times are of one step (of one batch if loading is timed).
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// `train`, `infer` or `data`.
    pub work: &'static str,
    /// The network in words, or the set if loading is timed.
    pub subject: String,
    /// Type of the stored activations, if training or inference is timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Trainable parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<usize>,
    /// Images in a batch.
    pub batch: usize,
    /// Channels, height, width of an image.
    pub input: [usize; 3],
    /// Steps timed.
    pub steps: usize,
    /// Median time, in milliseconds.
    pub median_ms: f64,
    /// Shortest time, in milliseconds.
    pub min_ms: f64,
    /// Longest time, in milliseconds.
    pub max_ms: f64,
    /// Images per second at the median.
    pub img_per_s: f64,
    /// The host's part, if training is timed on a GPU.
    #[serde(flatten)]
    pub enqueued: Option<Enqueued>,
    /// The teacher's part, if there is a teacher.
    #[serde(flatten)]
    pub teaching: Option<Teaching>,
    /// Peak memory of this process in MB (10^6 bytes), if the system reports it.
    pub peak_memory_mb: Option<f64>,
    /// Device, threads and processor.
    pub machine: String,
}

/// The timing of `work` from the milliseconds of each step.
pub(super) fn report(
    work: &'static str,
    workload: &Workload,
    parameters: usize,
    mut times: Vec<f64>,
) -> Timing {
    times.sort_by(f64::total_cmp);
    let at = |i: usize| times.get(i).copied().unwrap_or(f64::NAN);
    let median = at(times.len() / 2);
    let Workload {
        model,
        batch,
        size: [height, width],
        ..
    } = workload;
    Timing {
        work,
        subject: match &workload.experiment {
            Some(name) => format!("{name}: {}, noise", model.in_words(None)),
            None => format!("{}, noise", model.in_words(None)),
        },
        precision: (work != "data").then_some(workload.precision),
        parameters: Some(parameters),
        batch: *batch,
        input: [model.input_channels(), *height, *width],
        steps: times.len(),
        median_ms: median,
        min_ms: at(0),
        max_ms: at(times.len().saturating_sub(1)),
        img_per_s: *batch as f64 * 1e3 / median,
        enqueued: None,
        teaching: None,
        peak_memory_mb: machine::peak_memory_mb(),
        machine: format!(
            "{}, {}, {}",
            workload.device,
            counted(rayon::current_num_threads(), "thread"),
            machine::cpu()
        ),
    }
}

impl std::fmt::Display for Timing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [channels, height, width] = self.input;
        writeln!(
            f,
            "{:<8} {}, batch {} of {channels}x{height}x{width}{}",
            self.work,
            self.subject,
            self.batch,
            match self.precision {
                Some(Precision::Bf16) => ", activations in bf16",
                Some(Precision::F32) | None => "",
            }
        )?;
        writeln!(
            f,
            "median   {:.2} ms, {:.0} images/s ({:.2} to {:.2} ms in {})",
            self.median_ms,
            self.img_per_s,
            self.min_ms,
            self.max_ms,
            counted(self.steps, "step")
        )?;
        if let Some(enqueued) = &self.enqueued {
            enqueued.fmt(f)?;
        }
        if let Some(teaching) = &self.teaching {
            teaching.fmt(f)?;
        }
        if let Some(peak) = self.peak_memory_mb {
            writeln!(f, "memory   {peak:.0} MB at most")?;
        }
        writeln!(f, "machine  {}", self.machine)
    }
}
