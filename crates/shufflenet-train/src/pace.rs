//! Images per second of the steps taken, and a first guess at how long the rest will take.

use std::time::{Duration, Instant};

/// A run's first steps, which are slower than the rest: memory is taken, kernels are chosen.
const WARM_UP: usize = 2;
/// Steps after which, or time after which, the pace is worth telling.
const STEPS: usize = 10;
const TIME: Duration = Duration::from_secs(10);

/// Counts an epoch's images; once there are more, without those of the run's warm-up.
pub struct Pace {
    since: Instant,
    latest: Instant,
    steps: usize,
    images: usize,
    warm_up: usize,
    told: bool,
}

impl Pace {
    /// Starts counting. `first`: whether this is the run's first epoch, which has the warm-up, and of which
    /// [`Pace::first_estimate`] answers.
    pub fn start(first: bool) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            latest: now,
            steps: 0,
            images: 0,
            warm_up: if first { WARM_UP } else { 0 },
            told: !first,
        }
    }

    /// A step of so many images was taken.
    pub fn add(&mut self, images: usize) {
        if self.steps == self.warm_up && self.steps > 0 {
            self.since = self.latest;
            self.images = 0;
        }
        self.steps += 1;
        self.images += images;
        self.latest = Instant::now();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_counts_until_there_is_more() {
        let mut pace = Pace::start(true);
        for images in [1, 1, 7] {
            pace.add(images);
            assert!(pace.speed() > 0.0);
        }
        assert_eq!(pace.images, 7);
        let mut later = Pace::start(false);
        later.add(1);
        later.add(1);
        later.add(7);
        assert_eq!(later.images, 9);
    }
}
