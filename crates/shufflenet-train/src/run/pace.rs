//! Images per second: for the log, for a first estimate of the remaining time, and to detect a run that slows down.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Number of first steps of a run that are slower, because memory is allocated and kernels are tuned.
const WARM_UP: usize = 2;
/// Steps, or time, after which the first estimate is printed.
const STEPS: usize = 10;
const TIME: Duration = Duration::from_secs(10);

/// Counts an epoch's images. Those of the run's first, slower steps count only until there are others.
pub struct Pace {
    since: Instant,
    latest: Instant,
    steps: usize,
    images: usize,
    warm_up: usize,
    reported: bool,
}

impl Pace {
    /// Starts counting. `first`: whether this is the run's first epoch, which has the warm-up and gives
    /// [`Pace::first_estimate`].
    pub fn start(first: bool) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            latest: now,
            steps: 0,
            images: 0,
            warm_up: if first { WARM_UP } else { 0 },
            reported: !first,
        }
    }

    /// Counts a step of `images` images. Returns images per second so far.
    pub fn add(&mut self, images: usize) -> f64 {
        if self.steps == self.warm_up && self.steps > 0 {
            self.since = self.latest;
            self.images = 0;
        }
        self.steps += 1;
        self.images += images;
        self.latest = Instant::now();
        self.images_per_second()
    }

    /// Images per second so far. `None`: no step was taken.
    pub fn speed(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.images_per_second())
    }

    fn images_per_second(&self) -> f64 {
        self.images as f64 / self.since.elapsed().as_secs_f64().max(1e-9)
    }

    /// Returns the speed once, when enough steps were taken.
    pub fn first_estimate(&mut self) -> Option<f64> {
        let enough =
            self.steps >= WARM_UP + STEPS || (self.steps > WARM_UP && self.since.elapsed() >= TIME);
        if self.reported || !enough {
            return None;
        }
        self.reported = true;
        self.speed()
    }
}

/// A pace below this fraction of the first is reported.
const FALLEN: f64 = 2.0 / 3.0;

/// Looks for an epoch that is much slower than the first one whose images had the same size.
#[derive(Default)]
pub struct Slowdown {
    /// Epoch and images per second, by the size of the images (`None`: full size).
    first: BTreeMap<Option<usize>, (usize, f64)>,
    reported: bool,
}

impl Slowdown {
    /// Records the pace of an epoch in images per second. Returns a line, once, if it has fallen by a third.
    pub fn note(&mut self, epoch: usize, size: Option<usize>, pace: f64) -> Option<String> {
        let &mut (first, before) = self.first.entry(size).or_insert((epoch, pace));
        if self.reported || pace >= before * FALLEN {
            return None;
        }
        self.reported = true;
        Some(format!(
            "epoch {epoch} ran at {pace:.0} images/s, epoch {first} at {before:.0} with images of the same size"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_that_falls_by_a_third_at_one_size_is_reported_once() {
        let mut slowdown = Slowdown::default();
        assert_eq!(slowdown.note(1, Some(16), 900.0), None);
        assert_eq!(slowdown.note(2, Some(16), 601.0), None);
        // Larger images are expected to be slower.
        assert_eq!(slowdown.note(3, None, 300.0), None);
        let line = slowdown.note(4, None, 190.0).unwrap();
        assert!(line.contains("epoch 4 ran at 190"), "{line}");
        assert!(line.contains("epoch 3 at 300"), "{line}");
        assert_eq!(slowdown.note(5, None, 100.0), None);
    }

    #[test]
    fn the_first_steps_count_until_there_are_more() {
        let mut pace = Pace::start(true);
        assert_eq!(pace.speed(), None);
        for images in [1, 1, 7] {
            assert!(pace.add(images) > 0.0);
        }
        assert_eq!(pace.images, 7);
        let mut later = Pace::start(false);
        later.add(1);
        later.add(1);
        later.add(7);
        assert_eq!(later.images, 9);
    }
}
