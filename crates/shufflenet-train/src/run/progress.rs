//! The length of a run, its progress, and what is due at a step.

use std::time::Duration;

use crate::checkpoint::{Best, Progress};
use crate::display::epoch::Epoch;
use crate::display::words::duration;
use crate::divergence::Place;
use crate::recipe::optimizer::Rates;
use crate::recipe::progressive;
use crate::run::context::Run;

impl Run {
    /// Batches of an epoch.
    pub fn batches(&self) -> usize {
        self.sources.train.batches()
    }

    /// Optimizer steps of an epoch.
    pub fn steps_in_epoch(&self) -> usize {
        self.batches().div_ceil(self.experiment.train.accumulate)
    }

    /// Epochs of the run. The last may be cut short.
    pub fn epochs(&self) -> usize {
        self.total_steps().div_ceil(self.steps_in_epoch())
    }

    /// The epoch in progress, for the console.
    pub fn epoch(&self, progress: &Progress) -> Epoch {
        Epoch {
            number: progress.epochs + 1,
            of: self.epochs(),
            images: self.sources.train.records_in(0..self.batches()),
            steps: self.steps_in_epoch(),
            done: progress.batch / self.experiment.train.accumulate,
        }
    }

    /// Total number of optimizer steps.
    pub fn total_steps(&self) -> usize {
        self.schedule.total()
    }

    /// Whether training is over, by the run's length or `train.patience`, and the last step was evaluated.
    pub fn is_done(&self, progress: &Progress) -> bool {
        let is_last = progress.step >= self.total_steps() || self.has_stalled(progress);
        is_last && progress.evaluated == progress.step
    }

    /// Whether `train.evaluate_every` requires an evaluation of the epoch that was just trained.
    pub fn is_evaluated(&self, progress: &Progress) -> bool {
        let every = self.experiment.train.evaluate_every;
        let is_last = progress.step >= self.total_steps();
        is_last || (every > 0 && (progress.epochs + 1).is_multiple_of(every))
    }

    /// Whether `train.patience` epochs have passed since the best one.
    pub fn has_stalled(&self, progress: &Progress) -> bool {
        let (patience, best) = (self.experiment.train.patience, progress.best.as_ref());
        let stalls = |(patience, best): (usize, &Best)| progress.epochs >= best.epoch + patience;
        patience.zip(best).is_some_and(stalls)
    }

    /// Learning rate and momentum of the optimizer step with this index, from 0.
    pub fn rates(&self, step: usize) -> Rates {
        Rates {
            learning_rate: self.schedule.rate(step),
            momentum: self.schedule.momentum(step),
        }
    }

    /// The rate of the step last taken.
    pub fn rate_used(&self, progress: &Progress) -> f64 {
        self.schedule.rate(progress.step.saturating_sub(1))
    }

    /// The current place of the run, for a divergence.
    pub fn place(&self, progress: &Progress) -> Place {
        Place {
            step: progress.step,
            epoch: progress.epochs + 1,
            rate: self.schedule.rate(progress.step),
            last: None,
        }
    }

    /// A line on the time that the remaining steps take at `speed`, in images of the current epoch per second.
    pub fn estimate(&self, progress: &Progress, speed: f64) -> String {
        let (stages, shape) = (&self.experiment.train.progressive, self.sources.shape);
        let short = shape.height.min(shape.width);
        let steps = self.steps_in_epoch();
        let whole = |steps_until: usize| {
            progressive::total_cost(stages, short, steps_until as f64 / steps as f64)
        };
        let left = whole(self.total_steps()) - whole(progress.step);
        let epochs = left / progressive::cost(stages, progress.epochs + 1, short);
        let images = self.sources.train.records_in(0..self.batches());
        let left = Duration::try_from_secs_f64(epochs * images as f64 / speed);
        let left = duration(left.unwrap_or(Duration::MAX));
        format!("pace       {speed:.0} images/s: about {left} to go, evaluation not counted")
    }
}
