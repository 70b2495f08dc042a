//! The results of the runs of several seeds: the figures of each, their mean and their standard deviation.
//!
//! The deviation of `n` runs is that of a sample, `s^2 = sum (x - mean)^2 / (n - 1)`. It estimates the distance of one more
//! run from the mean.

use std::fs;
use std::path::Path;

use super::{Seeds, place};
use crate::checkpoint::{self, store};
use crate::metrics::line::Line;
use crate::metrics::log;

/// The result of a run's best epoch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measured {
    /// The part of the data: `test`, or else the part that was evaluated after epochs.
    pub split: String,
    /// Whether this part chose the epoch, which makes the figures optimistic.
    pub chose: bool,
    /// Epochs of the run.
    pub epochs: usize,
    /// Top-1 accuracy, 0 to 1.
    pub top1: f64,
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Minutes of training and evaluation, without the time between them.
    pub minutes: f64,
}

impl Measured {
    /// Reads the metrics of the run in the folder `run`. `None`: the run has no evaluation.
    pub fn read(run: &Path) -> Option<Self> {
        let last = store::last(run);
        let progress = checkpoint::progress(&last)?;
        let best = progress.best?.step;
        let chosen_on = checkpoint::description(&last)?.chosen_on;
        let text = fs::read_to_string(run.join(log::NAME)).ok()?;
        let lines = text.lines();
        let lines: Vec<Line> = lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let is_measure = |line: &&Line| {
            let of_best = line.event == "epoch" && line.split != "train" && line.step == best;
            line.event == "test" || of_best
        };
        // The test line is the last. The moving average, which chooses, comes after the weights.
        let measure = lines.iter().rev().find(is_measure)?;
        Some(Self {
            split: measure.split.into(),
            chose: chosen_on.is_some_and(|chosen| chosen.split == measure.split),
            epochs: progress.epochs,
            top1: measure.metrics.top1,
            loss: measure.metrics.loss,
            minutes: minutes(&lines),
        })
    }
}

/// Minutes that the images of all epochs and evaluations took. An epoch without a speed counts at the last speed of
/// training before it.
fn minutes(lines: &[Line]) -> f64 {
    let (mut seconds, mut trained_at) = (0.0, None);
    for line in lines {
        let is_training = line.split == "train";
        let measured = line.img_per_s.filter(|speed| *speed > 0.0);
        let speed = measured.or(trained_at.filter(|_| is_training));
        if is_training {
            trained_at = speed;
        }
        if let (Some(speed), true) = (speed, line.event != "step") {
            seconds += line.metrics.count as f64 / speed;
        }
    }
    seconds / 60.0
}

/// Mean and standard deviation of several runs' values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the sample. `None`: there is one value.
    pub deviation: Option<f64>,
}

impl Spread {
    /// Of no values, `None`.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (!values.is_empty()).then(|| Self {
            mean,
            deviation: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
        })
    }

    /// `90.36 ± 0.16`, with the given number of decimals, of values times `factor`.
    pub fn in_words(self, factor: f64, decimals: usize) -> String {
        let mean = self.mean * factor;
        match self.deviation {
            Some(deviation) => format!("{mean:.decimals$} ± {:.decimals$}", deviation * factor),
            None => format!("{mean:.decimals$}"),
        }
    }
}

/// Lines on the results of the runs in `folder`: one for each seed, and one for all.
pub(super) fn summary(folder: &Path, seeds: &Seeds) -> Vec<String> {
    let read = |seed| Some((seed, Measured::read(&place(folder, seed))?));
    let measured: Vec<(u64, Measured)> = seeds.iter().filter_map(read).collect();
    let each = measured.iter().map(|(seed, run)| {
        format!(
            "{:<10} {} top-1 {:.2} %, loss {:.4}, {:.1} min",
            format!("seed {seed}"),
            run.split,
            run.top1 * 100.0,
            run.loss,
            run.minutes
        )
    });
    let mut lines: Vec<String> = each.collect();
    let spread = |value: fn(&Measured) -> f64| {
        let values: Vec<f64> = measured.iter().map(|(_, run)| value(run)).collect();
        Spread::of(&values)
    };
    let figures = [
        spread(|run| run.top1),
        spread(|run| run.loss),
        spread(|run| run.minutes),
    ];
    let split = measured.first().map_or("", |(_, run)| &run.split);
    if let ([Some(top1), Some(loss), Some(minutes)], true) = (figures, measured.len() > 1) {
        let mut caveat = match measured.iter().any(|(_, run)| run.chose) {
            true => format!("; the {split} set itself chose each best epoch"),
            false => String::new(),
        };
        let runs: Vec<&Measured> = measured.iter().map(|(_, run)| run).collect();
        if let Some(lengths) = other_lengths(&runs) {
            caveat += &format!("; the runs have {lengths}");
        }
        lines.push(format!(
            "{:<10} {split} top-1 {} %, loss {}, {} min (mean ± standard deviation{caveat})",
            format!("{} seeds", measured.len()),
            top1.in_words(100.0, 2),
            loss.in_words(1.0, 4),
            minutes.in_words(1.0, 1)
        ));
    }
    lines
}

/// The epochs of runs of different lengths, whose mean is not meaningful: `4, 4 and 2 epochs`. `None`: all lengths are
/// equal.
pub(crate) fn other_lengths(runs: &[&Measured]) -> Option<String> {
    let epochs: Vec<String> = runs.iter().map(|run| run.epochs.to_string()).collect();
    let (last, others) = epochs.split_last()?;
    let differ = others.iter().any(|other| other != last);
    differ.then(|| format!("{} and {last} epochs", others.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::tally::Metrics;

    #[test]
    fn an_epoch_without_a_speed_counts_at_that_of_its_steps() {
        let metrics = Metrics {
            loss: 1.0,
            top1: 0.5,
            top5: 0.9,
            count: 600,
        };
        let line = |event, split, img_per_s| Line {
            event,
            epoch: 1,
            step: 1,
            split,
            weights: None,
            metrics,
            lr: 0.1,
            img_per_s,
            time: 0.0,
        };
        let lines = [
            line("step", "train", Some(10.0)),
            line("epoch", "train", None),
            line("epoch", "validation", Some(20.0)),
            line("epoch", "train", Some(5.0)),
        ];
        assert_eq!(minutes(&lines), 1.0 + 0.5 + 2.0);
    }

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let spread = Spread::of(&[0.9047, 0.9025, 0.9036]).unwrap();
        assert!((spread.mean - 0.9036).abs() < 1e-12);
        assert!((spread.deviation.unwrap() - 0.0011).abs() < 1e-12);
        assert_eq!(spread.in_words(100.0, 2), "90.36 ± 0.11");
        assert_eq!(Spread::of(&[2.5]).unwrap().in_words(1.0, 1), "2.5");
        assert_eq!(Spread::of(&[]), None);
    }
}
