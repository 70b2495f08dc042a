//! The random factors of dropout (Srivastava et al., 2014), inverted as in PyTorch.
//!
//! In training, every feature before the classifier is multiplied by a factor: 0 with probability `rate`, otherwise
//! `1 / (1 - rate)`, which keeps the mean. The factors are drawn on the host from (seed, step, micro-batch). A
//! device's generator is not used, because it differs between kinds of devices, all code in a process shares it, and
//! its state cannot be stored.

use rand_chacha::rand_core::Rng;
use shufflenet_data::random::{Purpose, stream};

/// The factors for `count` features in micro-batch `part` of an optimizer step.
pub fn mask(seed: u64, step: u64, part: u64, rate: f64, count: usize) -> Vec<f32> {
    let mut random = stream(seed, Purpose::Dropout, part, step);
    let dropped = (rate * 2f64.powi(32)).round() as u64;
    let kept = (1.0 / (1.0 - rate)) as f32;
    let mut draw = || u64::from(random.next_u32()) < dropped;
    (0..count)
        .map(|_| if draw() { 0.0 } else { kept })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_keep_the_mean_and_differ_for_each_seed_step_and_part() {
        let factors = mask(1, 2, 3, 0.25, 40_000);
        let dropped = factors.iter().filter(|&&factor| factor == 0.0).count();
        // Five standard deviations of a binomial count with mean 10,000.
        assert!(dropped.abs_diff(10_000) < 434, "{dropped}");
        assert!(factors.iter().all(|&x| x == 0.0 || x == 4.0 / 3.0));
        assert!(mask(1, 2, 3, 0.0, 9).iter().all(|&x| x == 1.0));
        for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4)] {
            let (seed, step, part) = other;
            assert_ne!(factors, mask(seed, step, part, 0.25, 40_000));
        }
    }

    /// The dropped features follow from ChaCha8's definition and were computed independently. Changing them
    /// changes every existing run with dropout.
    #[test]
    fn the_dropped_features_never_change_between_versions() {
        let factors = mask(42, 7, 1, 0.3, 24);
        for (feature, factor) in factors.into_iter().enumerate() {
            let expected = match feature {
                0 | 13 | 15 | 17 | 23 => 0.0,
                _ => 1.428_571_5,
            };
            assert_eq!(factor, expected, "{feature}");
        }
    }
}
