//! The rate rises and falls once, while the momentum falls and rises: Smith & Topin, 2017 ([Super-Convergence](
//! https://arxiv.org/abs/1708.07120)), as in PyTorch's `OneCycleLR` with cosines and two phases.
//!
//! In the first `p n` of `n` steps the rate rises from `1 / start_divisor` of the peak to the peak. In the others it
//! falls to `1 / end_divisor` of the first rate. The momentum goes from `momentum_high` to `momentum_low` and back.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::Position;
use crate::error::{TrainError, require};

/// Settings of `one_cycle`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycle {
    /// Fraction of the run in which the rate rises.
    pub rise: f64,
    /// Ratio of the peak rate to the first rate.
    pub start_divisor: f64,
    /// Ratio of the first rate to the last rate.
    pub end_divisor: f64,
    /// Momentum at the peak rate. It takes the place of `optimizer.momentum`, AdamW's and Lion's first beta
    /// and Muon's momentum alike.
    pub momentum_low: f64,
    /// Momentum at the start and at the end.
    pub momentum_high: f64,
}

impl Default for OneCycle {
    fn default() -> Self {
        Self {
            rise: 0.3,
            start_divisor: 25.0,
            end_divisor: 1e4,
            momentum_low: 0.85,
            momentum_high: 0.95,
        }
    }
}

impl OneCycle {
    pub(super) fn check(&self) -> Result<(), TrainError> {
        require(
            self.rise > 0.0 && self.rise < 1.0,
            "schedule.one_cycle.rise",
            self.rise,
            "a number between 0 and 1",
        )?;
        for (key, divisor) in [
            ("schedule.one_cycle.start_divisor", self.start_divisor),
            ("schedule.one_cycle.end_divisor", self.end_divisor),
        ] {
            let accepted = "a number from 1";
            require(
                divisor.is_finite() && divisor >= 1.0,
                key,
                divisor,
                accepted,
            )?;
        }
        for (key, momentum) in [
            ("schedule.one_cycle.momentum_low", self.momentum_low),
            ("schedule.one_cycle.momentum_high", self.momentum_high),
        ] {
            let accepted = "a number from 0 to below 1";
            require((0.0..1.0).contains(&momentum), key, momentum, accepted)?;
        }
        Ok(())
    }

    pub(super) fn share(&self, at: Position) -> f64 {
        let first = 1.0 / self.start_divisor;
        match self.phase(at) {
            Phase::Up(part) => between(first, 1.0, part),
            Phase::Down(part) => between(1.0, first / self.end_divisor, part),
        }
    }

    pub(super) fn momentum(&self, at: Position) -> f64 {
        let (low, high) = (self.momentum_low, self.momentum_high);
        match self.phase(at) {
            Phase::Up(part) => between(high, low, part),
            Phase::Down(part) => between(low, high, part),
        }
    }

    fn phase(&self, at: Position) -> Phase {
        let (step, last) = (at.step as f64, at.steps as f64 - 1.0);
        let peak = (self.rise * at.steps as f64 - 1.0).max(0.0);
        if step < peak {
            Phase::Up(step / peak)
        } else {
            // A run of one step ends before the rate falls.
            Phase::Down(((step - peak) / (last - peak).max(1.0)).min(1.0))
        }
    }
}

/// The finished part of a phase, 0 to 1.
enum Phase {
    Up(f64),
    Down(f64),
}

/// Half a cosine from `start` to `end`.
fn between(start: f64, end: f64, part: f64) -> f64 {
    end + (start - end) / 2.0 * (1.0 + (PI * part).cos())
}
