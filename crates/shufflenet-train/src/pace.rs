//! Images per second of the steps taken, and a first guess at how long the rest will take.

use std::time::{Duration, Instant};

/// Steps that are slower than the rest: memory is taken, kernels are chosen.
const WARM_UP: usize = 2;
/// Steps after which, or time after which, the pace is worth telling.
const STEPS: usize = 10;
const TIME: Duration = Duration::from_secs(10);

/// Counts images from the warm-up on.
pub struct Pace {
    since: Instant,
    steps: usize,
    images: usize,
    told: bool,
}

impl Pace {
    /// Starts counting. `tell`: whether [`Pace::first_estimate`] should ever answer.
    pub fn start(tell: bool) -> Self {
        Self {
            since: Instant::now(),
            steps: 0,
            images: 0,
            told: !tell,
        }
    }

    /// A step of so many images was taken.
    pub fn add(&mut self, images: usize) {
        self.steps += 1;
        if self.steps == WARM_UP {
            self.since = Instant::now();
            self.images = 0;
        } else {
            self.images += images;
        }
    }

    /// Images per second so far.
    pub fn speed(&self) -> f64 {
        self.images as f64 / self.since.elapsed().as_secs_f64().max(1e-9)
    }

    /// The speed, once, when enough steps were taken to trust it.
    pub fn first_estimate(&mut self) -> Option<f64> {
        let enough =
            self.steps >= WARM_UP + STEPS || (self.steps > WARM_UP && self.since.elapsed() >= TIME);
        if self.told || !enough {
            return None;
        }
        self.told = true;
        Some(self.speed())
    }
}
