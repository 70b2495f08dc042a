//! The learning rate as a function of the step, and the momentum if a schedule changes it.
//!
//! Both are pure functions of (configuration, step), so a resumed run needs no schedule state. A schedule gives the
//! share of the peak rate at a step. Each schedule is a file with its settings, their defaults, its formula and its
//! source. A warm-up of `w` steps may come before it: step `t`, from 0, uses `(t + 1) / w` of the peak (Goyal et al.,
//! 2017, section 2.2), and the schedule covers the remaining `n - w` steps. `tests/recipes` compares the schedules with
//! PyTorch's at every step.

mod cosine;
mod exponential;
mod linear;
mod multi_step;
mod one_cycle;

use serde::{Deserialize, Serialize};

pub use cosine::Cosine;
pub use exponential::Exponential;
pub use linear::Linear;
pub use multi_step::MultiStep;
pub use one_cycle::OneCycle;

use crate::error::{TrainError, require};

/// Shape of the learning rate over the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Shape of the rate. The section of the same name holds its settings; the other sections are ignored.
    pub kind: ScheduleKind,
    /// Epochs over which the rate first rises linearly from zero; fractions are allowed. `one_cycle` has a
    /// rise of its own.
    pub warmup_epochs: f64,
    /// Settings of `cosine`.
    pub cosine: Cosine,
    /// Settings of `linear`.
    pub linear: Linear,
    /// Settings of `multi_step`.
    pub multi_step: MultiStep,
    /// Settings of `one_cycle`.
    pub one_cycle: OneCycle,
    /// Settings of `exponential`.
    pub exponential: Exponential,
}

/// Kind of [`ScheduleConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// The peak rate in every step.
    Constant,
    /// Half a cosine from the peak to the end.
    #[default]
    Cosine,
    /// A straight line from the peak to the end.
    Linear,
    /// Drops at given epochs.
    MultiStep,
    /// One rise and one fall; the momentum falls and rises.
    OneCycle,
    /// The same factor in every step.
    Exponential,
}

impl ScheduleKind {
    /// Whether the rate at a step depends on how long the run is.
    pub fn follows_length(self) -> bool {
        matches!(self, Self::Cosine | Self::Linear | Self::OneCycle)
    }
}

impl std::fmt::Display for ScheduleKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Cosine => "cosine",
            Self::Linear => "linear",
            Self::MultiStep => "multi-step",
            Self::OneCycle => "one-cycle",
            Self::Exponential => "exponential",
        })
    }
}

impl ScheduleConfig {
    /// Checks that the settings are in range.
    ///
    /// # Errors
    /// [`TrainError::Value`].
    pub fn check(&self) -> Result<(), TrainError> {
        let warmup = self.warmup_epochs;
        let key = "schedule.warmup_epochs";
        require(
            warmup.is_finite() && warmup >= 0.0,
            key,
            warmup,
            "a number from 0",
        )?;
        if self.kind == ScheduleKind::OneCycle {
            require(
                warmup == 0.0,
                key,
                warmup,
                "0 with one_cycle, which has a rise of its own",
            )?;
        }
        self.cosine.check()?;
        self.linear.check()?;
        self.multi_step.check(self.kind)?;
        self.one_cycle.check()?;
        self.exponential.check()
    }

    /// The largest momentum of a run. `None`: the schedule does not change the optimizer's momentum.
    pub fn largest_momentum(&self) -> Option<f64> {
        let cycle = &self.one_cycle;
        let cycles = self.kind == ScheduleKind::OneCycle;
        cycles.then(|| cycle.momentum_low.max(cycle.momentum_high))
    }
}

/// Refuses a value that is not a share of the peak rate.
fn require_share(key: &'static str, share: f64) -> Result<(), TrainError> {
    require(
        (0.0..=1.0).contains(&share),
        key,
        share,
        "a fraction of the peak rate, 0 to 1",
    )
}

/// The position of a step in a run.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// Steps taken since the warm-up.
    step: usize,
    /// Steps of the run after the warm-up.
    steps: usize,
    /// Epochs done since the run began, warm-up included; fractions count.
    epochs: f64,
    /// Epochs done since the warm-up; fractions count.
    epochs_since_warmup: f64,
}

/// The learning rate of one run.
#[derive(Clone, Debug)]
pub struct Schedule {
    config: ScheduleConfig,
    peak: f64,
    warmup: usize,
    per_epoch: usize,
    total: usize,
}

impl Schedule {
    /// A schedule over `total` steps, `steps_per_epoch` of them in each epoch.
    pub fn new(config: &ScheduleConfig, peak: f64, steps_per_epoch: usize, total: usize) -> Self {
        Self {
            config: config.clone(),
            peak,
            // A warm-up that is longer than the run keeps its slope, as if the run were the start of a longer run.
            warmup: (config.warmup_epochs * steps_per_epoch as f64).round() as usize,
            per_epoch: steps_per_epoch.max(1),
            total,
        }
    }

    /// Steps of the run.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Steps of the warm-up, which may be more than the run has.
    pub fn warmup(&self) -> usize {
        self.warmup
    }

    /// The rate used by the optimizer step with this index, from 0.
    pub fn rate(&self, step: usize) -> f64 {
        let config = &self.config;
        if step < self.warmup {
            return self.peak * ((step + 1) as f64 / self.warmup as f64);
        }
        let at = self.position(step);
        self.peak
            * match config.kind {
                ScheduleKind::Constant => 1.0,
                ScheduleKind::Cosine => config.cosine.share(at),
                ScheduleKind::Linear => config.linear.share(at),
                ScheduleKind::MultiStep => config.multi_step.share(at),
                ScheduleKind::OneCycle => config.one_cycle.share(at),
                ScheduleKind::Exponential => config.exponential.share(at),
            }
    }

    /// The momentum at that step. `None`: the schedule does not change it.
    pub fn momentum(&self, step: usize) -> Option<f64> {
        let cycles = self.config.kind == ScheduleKind::OneCycle;
        cycles.then(|| self.config.one_cycle.momentum(self.position(step)))
    }

    fn position(&self, step: usize) -> Position {
        let since_warmup = step.saturating_sub(self.warmup);
        let epochs = |steps: usize| steps as f64 / self.per_epoch as f64;
        Position {
            step: since_warmup,
            steps: self.total.saturating_sub(self.warmup).max(1),
            epochs: epochs(step),
            epochs_since_warmup: epochs(since_warmup),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind, warmup_epochs: f64, total: usize) -> Schedule {
        let config = ScheduleConfig {
            kind,
            warmup_epochs,
            ..ScheduleConfig::default()
        };
        Schedule::new(&config, 0.1, 10, total)
    }

    #[test]
    fn a_warmup_longer_than_the_run_keeps_its_slope() {
        let long = schedule(ScheduleKind::Cosine, 2.0, 100);
        let short = schedule(ScheduleKind::Cosine, 2.0, 5);
        for step in 0..5 {
            assert_eq!(short.rate(step), long.rate(step));
        }
    }

    #[test]
    fn every_rate_is_from_zero_to_the_peak_even_in_a_short_run() {
        for kind in [
            ScheduleKind::Constant,
            ScheduleKind::Cosine,
            ScheduleKind::Linear,
            ScheduleKind::MultiStep,
            ScheduleKind::OneCycle,
            ScheduleKind::Exponential,
        ] {
            for total in [1, 2, 3, 7, 100] {
                let schedule = schedule(kind, 0.0, total);
                // A resumed run may need the rate of a step after its end.
                for step in 0..total + 2 {
                    let rate = schedule.rate(step);
                    assert!(
                        (0.0..=0.1 + 1e-12).contains(&rate),
                        "{kind} {total} {step}: {rate}"
                    );
                }
            }
        }
    }
}
