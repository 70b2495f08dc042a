//! Shows a run to its user: a progress bar on a terminal, plain lines elsewhere, or the dashboard.
//!
//! Lines go to standard output. The bar goes to standard error, and is hidden if that is not a terminal. A closed pipe does
//! not stop a run.

use std::io::{IsTerminal, Write, stderr, stdout};

use ::console::Term;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Interrupter;
use crate::display::dashboard::{self, Dashboard};
use crate::display::epoch::Epoch;
use crate::error::TrainError;
use crate::evaluation::tally::Evaluation;
use crate::evaluation::tally::Tally;

/// Least columns of a terminal on which bar and figures share a line.
const WIDE: u16 = 100;

/// Prints lines and, on a terminal, a bar below them or a dashboard instead.
pub struct Console {
    bar: ProgressBar,
    is_silent: bool,
    wants_dashboard: bool,
    dashboard: Option<Dashboard>,
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Console {
    /// A console without a bar yet.
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            is_silent: false,
            wants_dashboard: false,
            dashboard: None,
        }
    }

    /// A console that shows nothing, for every rank but the first.
    pub fn silent() -> Self {
        Self {
            is_silent: true,
            ..Self::new()
        }
    }

    /// A console that will show a run on Burn's dashboard.
    ///
    /// # Errors
    /// [`TrainError::Config`] if this build has no dashboard, or if there is no terminal.
    pub fn with_dashboard() -> Result<Self, TrainError> {
        dashboard::check()?;
        Ok(Self {
            wants_dashboard: true,
            ..Self::new()
        })
    }

    /// Begins the steps of a run of `epochs` epochs at epoch `first`, from 1.
    ///
    /// # Errors
    /// [`TrainError::Config`] if the dashboard cannot use the terminal.
    pub fn begin(
        &mut self,
        name: &str,
        epochs: usize,
        first: usize,
        interrupter: &Interrupter,
    ) -> Result<(), TrainError> {
        if self.wants_dashboard {
            self.dashboard = Some(Dashboard::open(name, epochs, first, interrupter)?);
        }
        Ok(())
    }

    /// Prints a line above the bar, or when the dashboard is closed.
    pub fn line(&mut self, text: &str) {
        if self.is_silent {
            return;
        }
        match &mut self.dashboard {
            Some(dashboard) => dashboard.line(text),
            None => self.bar.suspend(|| {
                // A closed pipe has no reader, so the error cannot be reported.
                let _ = writeln!(stdout(), "{text}");
            }),
        }
    }

    /// Whether each step is shown without a line of its own.
    pub fn is_live(&self) -> bool {
        !self.is_silent && (self.dashboard.is_some() || stderr().is_terminal())
    }

    /// Begins or continues an epoch.
    pub fn epoch(&mut self, epoch: &Epoch) {
        match &mut self.dashboard {
            Some(dashboard) => dashboard.epoch(epoch),
            None => {
                let title = format!("epoch {}/{}", epoch.number, epoch.of);
                self.start(&title, epoch.steps, epoch.done);
            }
        }
    }

    /// Shows a step taken at `rate`. `tally` is the epoch's sums, without images whose logits are still on a GPU.
    pub fn step(&mut self, tally: &Tally, rate: f64, images_per_second: f64) {
        match &mut self.dashboard {
            Some(dashboard) => dashboard.step(tally, rate, images_per_second),
            None => {
                let metrics = tally.metrics();
                self.advance(1, || match metrics.count {
                    0 => format!("{images_per_second:.0} img/s"),
                    _ => format!(
                        "loss {:.4}, top-1 {:.2} %, {images_per_second:.0} img/s",
                        metrics.loss,
                        metrics.top1 * 100.0
                    ),
                });
            }
        }
    }

    /// Begins an evaluation on `images` images.
    pub fn evaluation(&mut self, title: &str, images: usize) {
        match &mut self.dashboard {
            Some(dashboard) => dashboard.evaluation(images),
            None => self.start(title, images, 0),
        }
    }

    /// Shows that `images` more images were evaluated.
    pub fn evaluated(&mut self, images: usize) {
        match &mut self.dashboard {
            Some(dashboard) => dashboard.evaluated(images),
            None => self.advance(images, String::new),
        }
    }

    /// Shows the measurements of the weights and of their average.
    pub fn measured(&mut self, evaluations: &[Evaluation]) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.measured(evaluations);
        }
    }

    /// Starts a bar of `length`, of which `done` is done.
    pub fn start(&mut self, title: &str, length: usize, done: usize) {
        if self.is_silent {
            return;
        }
        let template = match Term::stderr().size() {
            (_, columns) if columns >= WIDE => "{prefix} {wide_bar} {pos}/{len}  {msg}  {eta} left",
            _ => "{prefix} {wide_bar} {pos}/{len}  {eta} left\n{wide_msg}",
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::new(length as u64)
            .with_style(style)
            .with_prefix(title.to_string())
            .with_position(done as u64);
        self.bar.reset_eta();
    }

    /// Advances the bar. `message` is built only on a terminal.
    pub fn advance(&self, by: usize, message: impl FnOnce() -> String) {
        if stderr().is_terminal() {
            self.bar.set_message(message());
        }
        self.bar.inc(by as u64);
    }

    /// Removes the bar.
    pub fn finish(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }
}
