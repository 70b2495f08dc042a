//! `train --tui`: burn-train's dashboard, which gets its figures from this project's training loop.
//!
//! Burn's renderer draws in its own thread and reads keys: `q` asks how to stop, and sets the run's [`Interrupter`]. The
//! renderer has the screen. So lines of the run are held back, and printed when the dashboard is closed, however the run
//! ends.

#[cfg(not(feature = "tui"))]
#[path = "absent.rs"]
mod terminal;
#[cfg(feature = "tui")]
mod terminal;

use std::io::{Write, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::train::metric::{
    MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::renderer::{MetricState, MetricsRenderer};
pub use terminal::{check, has_screen, leave_screen};

use crate::Interrupter;
use crate::display::epoch::Epoch;
use crate::error::TrainError;
use crate::evaluation::tally::Evaluation;
use crate::evaluation::tally::Tally;

/// The tabs, in order.
const METRICS: [Metric; 4] = [LOSS, TOP1, RATE, SPEED];
const LOSS: Metric = Metric("Loss");
const TOP1: Metric = Metric("Top-1 (%)");
const RATE: Metric = Metric("Learning rate");
const SPEED: Metric = Metric("Images/s");

/// Something plotted, by its name.
#[derive(Clone, Copy)]
struct Metric(&'static str);

/// A dashboard on the screen.
pub struct Dashboard {
    /// Burn's renderer. `None` once the user killed it from its menu.
    renderer: Option<Box<dyn MetricsRenderer>>,
    interrupter: Interrupter,
    held_back: Vec<String>,
    epoch: Epoch,
    /// Number of steps taken in the epoch, and the epoch's sums after them.
    steps: usize,
    shown: Tally,
    /// Number of images evaluated in the current evaluation.
    looked_at: usize,
}

impl Dashboard {
    /// Takes the screen for a run of `epochs` epochs. `first`, from 1, is the next one.
    ///
    /// # Errors
    /// [`TrainError::Config`], [`TrainError::Io`].
    pub fn open(
        name: &str,
        epochs: usize,
        first: usize,
        interrupter: &Interrupter,
    ) -> Result<Self, TrainError> {
        let renderer = terminal::open(interrupter, first - 1)?;
        let mut dashboard = Self {
            renderer: Some(renderer),
            interrupter: interrupter.clone(),
            held_back: Vec::new(),
            epoch: Epoch::default(),
            steps: 0,
            shown: Tally::default(),
            looked_at: 0,
        };
        dashboard.feed(|renderer| {
            METRICS
                .into_iter()
                .for_each(|metric| renderer.register_metric(metric.definition()));
            renderer.start(epochs, first, None, Some(name));
            // At its first evaluation Burn decides how many points of evaluations it draws, by the ratio of the records of
            // evaluation and training. An evaluation before any training has no such ratio, so all points are drawn.
            renderer.start_split("valid", 1);
            renderer.update_split(0);
        });
        Ok(dashboard)
    }

    /// Holds a line back until the screen is free.
    pub fn line(&mut self, text: &str) {
        self.held_back.push(text.into());
        if self.renderer.is_none() {
            self.print();
        }
    }

    /// Begins or continues an epoch.
    pub fn epoch(&mut self, epoch: &Epoch) {
        self.epoch = *epoch;
        self.steps = epoch.done;
        self.shown = Tally::default();
        let done = self.images();
        self.feed(|renderer| {
            // Burn counts epochs from 0 here, and from 1 above.
            renderer.update_epoch(epoch.number - 1);
            renderer.start_split("train", epoch.images);
            renderer.update_split(done);
        });
    }

    /// Shows a step. `tally` is the epoch's sums, without images whose logits are still on a GPU.
    pub fn step(&mut self, tally: &Tally, rate: f64, speed: f64) {
        self.steps += 1;
        let done = self.images();
        let mean = tally.metrics();
        let latest = tally.since(&self.shown).metrics();
        self.shown = *tally;
        self.feed(|renderer| {
            renderer.update_split(done);
            if latest.count > 0 {
                let (loss, top1) = (format!("{:.4}", mean.loss), percent(mean.top1));
                renderer.update_train(LOSS.state(loss, latest.loss));
                renderer.update_train(TOP1.state(top1, latest.top1 * 100.0));
            }
            renderer.update_train(RATE.state(format!("{rate:.6}"), rate));
            renderer.update_train(SPEED.state(format!("{speed:.0}"), speed));
        });
    }

    /// Begins an evaluation on `images` images.
    pub fn evaluation(&mut self, images: usize) {
        self.looked_at = 0;
        self.feed(|renderer| {
            renderer.end_split();
            renderer.start_split("valid", images);
            renderer.update_split(0);
        });
    }

    /// Shows that `images` more images were evaluated.
    pub fn evaluated(&mut self, images: usize) {
        self.looked_at += images;
        let done = self.looked_at;
        self.feed(|renderer| renderer.update_split(done));
    }

    /// Shows the measurements of the weights and of their average, and plots the last.
    pub fn measured(&mut self, evaluations: &[Evaluation]) {
        let words = |value: &dyn Fn(&Evaluation) -> String| {
            let of = |evaluation: &Evaluation| match evaluation.weights {
                Some(weights) => format!("{weights} {}", value(evaluation)),
                None => value(evaluation),
            };
            evaluations.iter().map(of).collect::<Vec<_>>().join(", ")
        };
        let Some(last) = evaluations.last() else {
            return;
        };
        let loss = words(&|evaluation| format!("{:.4}", evaluation.metrics.loss));
        let top1 = words(&|evaluation| percent(evaluation.metrics.top1));
        self.feed(|renderer| {
            renderer.update_valid(LOSS.state(loss, last.metrics.loss));
            renderer.update_valid(TOP1.state(top1, last.metrics.top1 * 100.0));
            renderer.end_split();
        });
    }

    /// Number of images seen in the epoch.
    fn images(&self) -> usize {
        self.epoch.images * self.steps / self.epoch.steps.max(1)
    }

    /// Calls the renderer. Burn's menu offers to kill the process: the renderer then restores the terminal and panics at
    /// the next call. Here this stops the run as any other stop does.
    fn feed(&mut self, tell: impl FnOnce(&mut dyn MetricsRenderer)) {
        let Some(renderer) = &mut self.renderer else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| tell(renderer.as_mut()))).is_err() {
            self.interrupter.stop(None);
            self.close();
        }
    }

    fn close(&mut self) {
        let renderer = self.renderer.take();
        // A renderer that was killed panics again.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(renderer)));
        self.print();
    }

    fn print(&mut self) {
        for line in self.held_back.drain(..) {
            // A closed pipe has no reader, so the error cannot be reported.
            let _ = writeln!(stdout(), "{line}");
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.close();
    }
}

impl Metric {
    fn id(self) -> MetricId {
        MetricId::new(Arc::new(self.0.into()))
    }

    fn definition(self) -> MetricDefinition {
        MetricDefinition {
            metric_id: self.id(),
            name: Arc::new(self.0.into()),
            description: None,
            attributes: NumericAttributes::default().into(),
        }
    }

    /// A value to plot, and its text.
    fn state(self, words: String, value: f64) -> MetricState {
        let entry = MetricEntry::new(self.id(), SerializedEntry::new(words, value.to_string()));
        MetricState::Numeric(entry, Some(NumericEntry::Value(value)))
    }
}

/// `86.42 %`
fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
