//! `shufflenet lr-find`: the learning rate range test (Smith, 2015, [Cyclical Learning Rates](
//! https://arxiv.org/abs/1506.01186), section 3.3).
//!
//! Trains for some steps while the rate rises by a constant factor, and records the loss. The loss falls where the rate is
//! useful and explodes where it is too large. The suggested rate is the middle of the longest valley of the loss, fastai's
//! rule, which leaves a margin below the rate that is too large. (PyTorch Lightning's rule, the steepest fall, may pick the
//! recovery from a spike.) Nothing is saved.

use std::rc::Rc;

use crate::Interrupter;
use crate::cluster::Cluster;
use crate::display::console::Console;
use crate::error::{TrainError, require};
use crate::evaluation::tally::Tally;
use crate::experiment::Experiment;
use crate::recipe::optimizer::Rates;
use crate::run::context::Run;
use crate::step::state::State;

/// Rates to try.
#[derive(Clone, Debug)]
pub struct Range {
    /// The first rate.
    pub from: f64,
    /// The last rate. A loss that explodes ends the test before.
    pub to: f64,
    /// Total number of steps.
    pub steps: usize,
}

/// Result of the test.
pub struct Found {
    /// Rates tried, ascending.
    pub rates: Vec<f64>,
    /// The loss at each rate, smoothed over the steps before.
    pub losses: Vec<f64>,
    /// The rate half way down the longest valley of the loss. `None`: the loss hardly falls.
    pub suggestion: Option<f64>,
}

/// Weight of the previous smoothed loss in the next one.
const SMOOTHING: f64 = 0.9;
/// The loss has exploded if it is this many times the best loss.
const EXPLODED: f64 = 3.0;
/// There is no valley if the loss never falls below this part of the first loss.
const NOTABLE: f64 = 0.95;

/// Runs the test on the experiment's own network, data and optimizer. `console` shows the steps taken.
///
/// # Errors
/// The errors of a run; [`TrainError::Value`] for a range that does not rise.
pub fn find(
    experiment: &Experiment,
    range: &Range,
    device: &str,
    threads: usize,
    interrupter: &Interrupter,
    console: &mut Console,
) -> Result<Found, TrainError> {
    let positive = range.from.is_finite() && range.from > 0.0;
    require(positive, "--from", range.from, "a positive number")?;
    let rises = range.to.is_finite() && range.to > range.from;
    require(rises, "--to", range.to, "a number above --from")?;
    require(
        range.steps >= 10,
        "--steps",
        range.steps,
        "a whole number from 10",
    )?;

    let cluster = Rc::new(Cluster::alone(interrupter));
    let run = Run::open(experiment, device, threads, cluster)?;
    run.check_device(console)?;
    console.start("rates", range.steps, 0);
    let (mut state, _) =
        State::fresh(&run.experiment, &run.description, &run.device, &run.cluster)?;
    let factor = (range.to / range.from).powf(1.0 / (range.steps - 1) as f64);
    let mut found = Found {
        rates: Vec::new(),
        losses: Vec::new(),
        suggestion: None,
    };
    let (mut smoothed, mut best) = (0.0, f64::INFINITY);
    let mut batches = run.rest_of_epoch(&state);
    for step in 0..range.steps {
        if interrupter.should_stop() {
            break;
        }
        if batches.len() == 0 {
            batches = run.next_epoch(&mut state);
        }
        let rate = range.from * factor.powi(step as i32);
        let stepped = run.step(&mut state, &mut batches, Rates::from(rate));
        match stepped.and_then(|_| run.settle(&mut state)) {
            Err(TrainError::Diverged(_)) => break,
            stepped => stepped?,
        }
        let loss = std::mem::take::<Tally>(&mut state.progress.tally)
            .metrics()
            .loss;
        smoothed = SMOOTHING * smoothed + (1.0 - SMOOTHING) * loss;
        // The average starts at zero, which is corrected for as in Adam.
        let unbiased = smoothed / (1.0 - SMOOTHING.powi(step as i32 + 1));
        found.rates.push(rate);
        found.losses.push(unbiased);
        best = unbiased.min(best);
        console.advance(1, String::new);
        if unbiased > EXPLODED * best {
            break;
        }
    }
    console.finish();
    found.suggestion = valley(&found.rates, &found.losses);
    Ok(found)
}

/// The rate in the middle of the longest valley: the longest sequence of falling losses, with any losses between them.
/// Noise hardly shortens it, and a spike is left out. fastai takes the step that is half of the valley's length before
/// its end; this takes the middle of the sequence. After a spike the two are far apart.
fn valley(rates: &[f64], losses: &[f64]) -> Option<f64> {
    let least = losses.iter().copied().min_by(f64::total_cmp)?;
    if least > NOTABLE * losses.first()? {
        return None;
    }
    // The average of the first losses covers too few steps.
    let start = losses.len() / 10;
    let losses = losses.get(start..)?;
    // For each step, the length of the longest falling sequence that ends at it, and the step before it in that sequence.
    let mut runs: Vec<(usize, Option<usize>)> = Vec::new();
    for loss in losses {
        let earlier = losses.iter().zip(&runs).enumerate();
        let higher = earlier.filter(|(_, (earlier, _))| *earlier > loss);
        let longest = higher.map(|(step, (_, (length, _)))| (*length, step)).max();
        runs.push(longest.map_or((1, None), |(length, step)| (length + 1, Some(step))));
    }
    let longest = runs.iter().map(|(length, _)| *length).max()?;
    let mut middle = runs.iter().position(|(length, _)| *length == longest)?;
    for _ in 0..longest / 2 {
        middle = runs.get(middle)?.1?;
    }
    rates.get(start + middle).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Vec<f64> {
        (0..100).map(|i| 1e-5 * 1.15f64.powi(i)).collect()
    }

    /// A loss that is flat, falls around step 50, and explodes from step 85 on.
    fn usual(i: f64) -> f64 {
        2.3 - 1.0 / (1.0 + (-(i - 50.0) / 6.0).exp()) + ((i - 88.0) / 3.0).exp()
    }

    fn suggested(loss: impl Fn(f64) -> f64) -> Option<f64> {
        let losses: Vec<f64> = (0..100).map(|i| loss(f64::from(i))).collect();
        valley(&rates(), &losses)
    }

    #[test]
    fn the_suggestion_is_half_way_down() {
        let (rates, found) = (rates(), suggested(usual).unwrap());
        assert!(rates[40] < found && found < rates[55], "{found}");
    }

    #[test]
    fn noise_and_a_spike_hardly_change_the_suggestion() {
        let noise = |i: f64| 0.02 * (i * 12.9898).sin();
        // The loss rises at step 70 and falls back within ten steps, three times as steeply as in the valley.
        let spike = |i: f64| {
            if i < 70.0 {
                0.0
            } else {
                1.5 * (-(i - 70.0) / 3.0).exp()
            }
        };
        let (rates, found) = (
            rates(),
            suggested(|i| usual(i) + noise(i) + spike(i)).unwrap(),
        );
        assert!(rates[40] < found && found < rates[60], "{found}");
    }

    /// A loss as on CIFAR-10: a long shallow valley, a spike that training survives, and a slightly lower loss after it.
    #[test]
    fn the_valley_before_a_spike_counts_even_if_the_loss_is_lower_after_it() {
        let shallow = |i: f64| 2.3 - 0.003 * i.min(60.0);
        let behind = |i: f64| 2.1 + 1.4 * (-(i - 66.0) / 4.0).exp();
        let loss = |i: f64| match i {
            i if i <= 60.0 => shallow(i),
            i if i <= 66.0 => shallow(i) + (i - 60.0) * 0.22,
            _ => behind(i),
        };
        let (rates, found) = (rates(), suggested(loss).unwrap());
        assert!(rates[25] < found && found < rates[60], "{found}");
    }

    #[test]
    fn a_loss_that_hardly_falls_suggests_nothing() {
        assert_eq!(suggested(|i| 1.0 + i), None);
        assert_eq!(suggested(|i| 2.3 + 0.01 * i.sin()), None);
        assert_eq!(valley(&[], &[]), None);
    }
}
