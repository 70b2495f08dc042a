//! What a person sees of a run: a progress bar on a terminal, plain lines elsewhere, or the dashboard.
//!
//! Lines go to standard output, the bar to standard error; it hides itself where that is no terminal.
//! A closed pipe is no error of a run's.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

use ::console::Term;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Interrupter;
use crate::dashboard::{self, Dashboard};
use crate::error::TrainError;
use crate::run::Evaluation;
use crate::tally::{Metrics, Tally};

/// Columns of a terminal on which bar and figures share a line.
const WIDE: u16 = 100;

/// Prints lines and, on a terminal, a bar below them or a dashboard instead.
pub struct Console {
    bar: ProgressBar,
    is_silent: bool,
    wants_dashboard: bool,
    dashboard: Option<Dashboard>,
}

/// An epoch that begins, or goes on.
#[derive(Clone, Copy, Default)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// Epochs in all.
    pub of: usize,
    /// Its images.
    pub images: usize,
    /// Its steps.
    pub steps: usize,
    /// The steps behind us.
    pub done: usize,
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

    /// One that shows nothing: that of a rank that another speaks for.
    pub fn silent() -> Self {
        Self {
            is_silent: true,
            ..Self::new()
        }
    }

    /// One that will show a run on Burn's dashboard.
    ///
    /// # Errors
    /// [`TrainError::Config`] where this build has none, or nobody would see it.
    pub fn with_dashboard() -> Result<Self, TrainError> {
        dashboard::check()?;
        Ok(Self {
            wants_dashboard: true,
            ..Self::new()
        })
    }

    /// The steps of a run of so many epochs begin, with epoch `first`, from 1.
    ///
    /// # Errors
    /// [`TrainError::Config`] where a dashboard was wanted and the terminal is of no use.
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
                // Nobody is left to read it, and nobody to tell.
                let _ = writeln!(stdout(), "{text}");
            }),
        }
    }

    /// Whether steps are seen as they are taken, without a line for each.
    pub fn is_live(&self) -> bool {
        !self.is_silent && (self.dashboard.is_some() || stderr().is_terminal())
    }

    /// An epoch begins, or goes on.
    pub fn epoch(&mut self, epoch: &Epoch) {
        match &mut self.dashboard {
            Some(dashboard) => dashboard.epoch(epoch),
            None => {
                let title = format!("epoch {}/{}", epoch.number, epoch.of);
                self.start(&title, epoch.steps, epoch.done);
            }
        }
    }

    /// A step was taken at `rate`; `tally` is the epoch's sums, of which a GPU may not have been asked yet.
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

    /// An evaluation over so many images begins.
    pub fn evaluation(&mut self, title: &str, images: usize) {
        match &mut self.dashboard {
            Some(dashboard) => dashboard.evaluation(images),
            None => self.start(title, images, 0),
        }
    }

    /// So many images more of it were looked at.
    pub fn evaluated(&mut self, images: usize) {
        match &mut self.dashboard {
            Some(dashboard) => dashboard.evaluated(images),
            None => self.advance(images, String::new),
        }
    }

    /// What the weights, and then their average, have shown.
    pub fn measured(&mut self, evaluations: &[Evaluation]) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.measured(evaluations);
        }
    }

    /// Starts a bar of `length`, `done` of it behind us.
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

    /// So much further; `message` is built only where it is seen.
    pub fn advance(&self, by: usize, message: impl FnOnce() -> String) {
        if stderr().is_terminal() {
            self.bar.set_message(message());
        }
        self.bar.inc(by as u64);
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }
}

/// `loss 0.3812, top-1 86.42 %, top-5 99.70 %`
pub fn describe(metrics: &Metrics) -> String {
    format!(
        "loss {:.4}, top-1 {:.2} %, top-5 {:.2} %",
        metrics.loss,
        metrics.top1 * 100.0,
        metrics.top5 * 100.0
    )
}

/// `42 s`, `7 min 05 s`, `11 h 20 min`
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

/// `50,000`
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_a_person_says_them() {
        let text = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(text(42), "42 s");
        assert_eq!(text(425), "7 min 05 s");
        assert_eq!(text(40_800), "11 h 20 min");
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [
            (7, "7"),
            (999, "999"),
            (1000, "1,000"),
            (1_263_854, "1,263,854"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
