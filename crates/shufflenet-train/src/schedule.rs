//! The learning rate as a function of the step.
//!
//! A pure function of (configuration, step), so a resumed run needs no schedule state. With peak
//! rate `r`, `w` warm-up steps and `n` steps in all, for step `t` from 0:
//!
//! - warm-up: `r (t + 1) / w` for `t < w`;
//! - cosine: `r / 2 (1 + cos(pi (t - w) / (n - w)))`, Loshchilov & Hutter 2016 (SGDR, eq. 5) without
//!   restarts, per step rather than per epoch;
//! - constant: `r`.

use std::f64::consts::PI;

use crate::experiment::{Experiment, ScheduleConfig, ScheduleKind};

/// The learning rate of one run.
#[derive(Clone, Debug)]
pub struct Schedule {
    kind: ScheduleKind,
    peak: f64,
    warmup: usize,
    total: usize,
}

impl Schedule {
    /// The schedule of an experiment on a training set of so many batches.
    pub fn of(experiment: &Experiment, batches: usize) -> Self {
        let train = &experiment.train;
        let steps_per_epoch = batches.div_ceil(train.accumulate);
        let all_epochs = steps_per_epoch.saturating_mul(train.epochs);
        let total = train.max_steps.unwrap_or(all_epochs).min(all_epochs);
        let peak = experiment.optimizer.learning_rate;
        Self::new(&experiment.schedule, peak, steps_per_epoch, total)
    }

    /// Steps of the run.
    pub fn total(&self) -> usize {
        self.total
    }

    /// A schedule over `total` steps, `steps_per_epoch` of them in each epoch.
    pub fn new(config: &ScheduleConfig, peak: f64, steps_per_epoch: usize, total: usize) -> Self {
        let warmup = (config.warmup_epochs * steps_per_epoch as f64).round() as usize;
        Self {
            kind: config.kind,
            peak,
            warmup: warmup.min(total),
            total,
        }
    }

    /// The rate used by the optimizer step with this index, from 0.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        match self.kind {
            ScheduleKind::Constant => self.peak,
            ScheduleKind::Cosine => {
                let length = (self.total - self.warmup).max(1) as f64;
                let progress = ((step - self.warmup) as f64 / length).min(1.0);
                self.peak / 2.0 * (1.0 + (PI * progress).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind, warmup_epochs: f64) -> Schedule {
        let config = ScheduleConfig {
            kind,
            warmup_epochs,
        };
        Schedule::new(&config, 0.1, 10, 100)
    }

    #[test]
    fn cosine_starts_at_the_peak_halves_midway_and_nears_zero() {
        let cosine = schedule(ScheduleKind::Cosine, 0.0);
        assert_eq!(cosine.rate(0), 0.1);
        assert!((cosine.rate(50) - 0.05).abs() < 1e-12);
        assert!(cosine.rate(99) > 0.0 && cosine.rate(99) < 1e-4);
    }

    #[test]
    fn warmup_rises_linearly_to_the_peak() {
        let warm = schedule(ScheduleKind::Constant, 2.0);
        assert!((warm.rate(0) - 0.005).abs() < 1e-12);
        assert!((warm.rate(19) - 0.1).abs() < 1e-12);
        assert_eq!(warm.rate(20), 0.1);
    }

    #[test]
    fn the_rate_never_rises_after_warmup() {
        let cosine = schedule(ScheduleKind::Cosine, 1.0);
        let rates: Vec<f64> = (10..100).map(|step| cosine.rate(step)).collect();
        assert!(rates.windows(2).all(|pair| pair[1] <= pair[0]));
    }
}
