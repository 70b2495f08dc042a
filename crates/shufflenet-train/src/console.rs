//! What a person sees of a run: a progress bar on a terminal, plain lines elsewhere.
//!
//! Lines go to standard output, the bar to standard error; it hides itself where that is no terminal.
//! A closed pipe is no error of a run's.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::tally::Metrics;

/// Prints lines and, on a terminal, a bar below them.
pub struct Console {
    bar: ProgressBar,
    is_silent: bool,
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
        }
    }

    /// One that shows nothing: that of a rank that another speaks for.
    pub fn silent() -> Self {
        Self {
            is_silent: true,
            ..Self::new()
        }
    }

    /// Prints a line above the bar.
    pub fn line(&self, text: &str) {
        if self.is_silent {
            return;
        }
        self.bar.suspend(|| {
            // Nobody is left to read it, and nobody to tell.
            let _ = writeln!(stdout(), "{text}");
        });
    }

    /// Whether a bar would be seen.
    pub fn is_terminal(&self) -> bool {
        !self.is_silent && stderr().is_terminal()
    }

    /// Starts a bar of `length` steps, `done` of them behind us.
    pub fn start(&mut self, title: &str, length: usize, done: usize) {
        if self.is_silent {
            return;
        }
        let template = "{prefix} {bar:30} {pos}/{len}  {msg}  {eta} left";
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::new(length as u64)
            .with_style(style)
            .with_prefix(title.to_string())
            .with_position(done as u64);
        self.bar.reset_eta();
    }

    /// A step further; `message` is built only where it is seen.
    pub fn advance(&self, message: impl FnOnce() -> String) {
        if self.is_terminal() {
            self.bar.set_message(message());
        }
        self.bar.inc(1);
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
