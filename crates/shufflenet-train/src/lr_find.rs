//! `shufflenet lr-find`: the learning rate range test (Smith, 2015, [Cyclical Learning Rates](
//! https://arxiv.org/abs/1506.01186), section 3.3).
//!
//! Trains for some steps while the rate rises from next to nothing by the same factor in each, and looks at
//! the loss: it falls where the rate is of use and explodes where it is too large. The rate suggested is the
//! one at which the smoothed loss falls fastest over the logarithm of the rate, which leaves some room below
//! the one that is too large. Nothing is saved.

use std::rc::Rc;

use crate::Interrupter;
use crate::cluster::Cluster;
use crate::error::TrainError;
use crate::experiment::{Experiment, require};
use crate::optimizer::Rates;
use crate::run::Run;
use crate::state::State;
use crate::tally::Tally;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Range {
    /// The first rate.
    pub from: f64,
    /// The last rate, unless the loss explodes before.
    pub to: f64,
    /// Steps in all.
    pub steps: usize,
}

/// What was found.
pub struct Found {
    /// Rates tried, ascending.
    pub rates: Vec<f64>,
    /// The loss at each, smoothed over the steps before.
    pub losses: Vec<f64>,
    /// The rate at which the loss falls fastest. `None`: it hardly falls.
    pub suggestion: Option<f64>,
}

/// How much of the loss before a smoothed loss keeps.
const SMOOTHING: f64 = 0.9;
/// A loss so many times the best is beyond hope.
const EXPLODED: f64 = 3.0;
/// A loss that never falls to this part of the first says nothing about where it falls.
const NOTABLE: f64 = 0.95;

/// Runs the test on the experiment's own network, data and optimizer; `tick` is called after each step.
///
/// # Errors
/// What a run of it would fail with; [`TrainError::Value`] for a range that is none.
pub fn find(
    experiment: &Experiment,
    range: &Range,
    device: &str,
    threads: usize,
    interrupter: &Interrupter,
    mut tick: impl FnMut(),
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
    let (mut state, _) = State::fresh(experiment, &run.device)?;
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
            state.progress.epochs += 1;
            state.progress.batch = 0;
            batches = run.rest_of_epoch(&state);
        }
        let rate = range.from * factor.powi(step as i32);
        let stepped = run.step_at(&mut state, &mut batches, Rates::from(rate))?;
        let settled = run.settle(&mut state)?;
        if stepped.is_err() || settled.is_err() {
            break;
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
        tick();
        if unbiased > EXPLODED * best {
            break;
        }
    }
    found.suggestion = steepest(&found.rates, &found.losses);
    Ok(found)
}

/// The rate in the middle of the stretch over which the loss falls most. Rates are evenly spaced in their
/// logarithm, so a difference of losses is a slope.
fn steepest(rates: &[f64], losses: &[f64]) -> Option<f64> {
    let stretch = (rates.len() / 20).max(1);
    let numbered = losses.iter().copied().enumerate();
    let (lowest, least) = numbered.min_by(|a, b| a.1.total_cmp(&b.1))?;
    if least > NOTABLE * losses.first()? {
        return None;
    }
    let fall = |start: usize| Some(losses.get(start)? - losses.get(start + stretch)?);
    let falls = (0..lowest).filter_map(|start| Some((start, fall(start)?)));
    let (start, _) = falls.max_by(|a, b| a.1.total_cmp(&b.1))?;
    rates.get(start + stretch / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suggestion_is_where_the_loss_falls_fastest() {
        let rates: Vec<f64> = (0..100).map(|i| 1e-5 * 1.15f64.powi(i)).collect();
        // Flat, falling around step 50, exploding from 80 on.
        let loss =
            |i: f64| 2.3 - 1.0 / (1.0 + (-(i - 50.0) / 4.0).exp()) + ((i - 85.0) / 3.0).exp();
        let losses: Vec<f64> = (0..100).map(|i| loss(f64::from(i))).collect();
        let suggested = steepest(&rates, &losses).unwrap();
        assert!(
            rates[46] < suggested && suggested < rates[54],
            "{suggested}"
        );
        let rising: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(steepest(&rates, &rising), None);
        assert_eq!(steepest(&[], &[]), None);
    }
}
