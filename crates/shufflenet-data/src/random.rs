//! Random numbers, each a function of its purpose.
//!
//! A random choice never depends on earlier draws: it reads the start of a ChaCha8 stream whose 256-bit key
//! *is* (seed, purpose, epoch, index), four little-endian 64-bit words. So the augmentation of a sample
//! does not depend on its batch, the order or the thread, and an epoch can be entered in the middle. The
//! integers below are drawn by code of this crate, because streams must not change with a library's
//! version.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The purpose of a stream. The numbers make runs repeatable and must never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// The choice of the records that are held out; index = class, epoch = 0.
    Holdout = 1,
    /// The order of the records in an epoch; index = 0.
    Order = 2,
    /// Crop and flip; index = record.
    Augmentation = 3,
    /// The features that dropout drops; epoch = micro-batch of the step, index = optimizer step.
    Dropout = 4,
    /// The window of a random resized crop; index = record.
    Crop = 5,
    /// The noise of a synthetic set; epoch = 0 for training images, 1 for test images, index = record.
    Synthetic = 6,
    /// The side of an image that comes first if sides alternate; epoch = 0, index = record.
    Flip = 7,
    /// Colour jitter; index = record.
    Jitter = 8,
    /// The operations of an automatic policy; index = record.
    Policy = 9,
    /// The part of an image that is erased; index = record.
    Erasure = 10,
    /// The mixing of the pairs of a batch; index = number of the batch.
    Mixing = 11,
}

/// The stream of random words for one choice.
pub fn stream(seed: u64, purpose: Purpose, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, purpose as u64, epoch, index];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A uniform integer in `0..bound`; 0 if `bound` is 0.
///
/// The result is the high half of word x bound. The few words that would favour some results are drawn
/// again (Lemire, "Fast random integer generation in an interval", 2019).
pub(crate) fn below(random: &mut ChaCha8Rng, bound: u32) -> u32 {
    let favoured = bound.wrapping_neg().checked_rem(bound).unwrap_or(0);
    loop {
        let product = u64::from(random.next_u32()) * u64::from(bound);
        if product as u32 >= favoured {
            return (product >> 32) as u32;
        }
    }
}

/// A uniform number from 0 to below 1, from 32 random bits.
pub(crate) fn fraction(random: &mut ChaCha8Rng) -> f64 {
    f64::from(random.next_u32()) / 2f64.powi(32)
}

/// A uniform number from `low` to `high`.
pub(crate) fn between(random: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * fraction(random)
}

/// A number from the Beta(alpha, alpha) distribution (Joehnk, 1964: powers of two uniform numbers whose sum
/// is at most 1). Meant for alpha around 1; slow above 4.
pub(crate) fn beta(random: &mut ChaCha8Rng, alpha: f64) -> f64 {
    loop {
        let [x, y] = [0; 2].map(|_| fraction(random).powf(1.0 / alpha));
        // For tiny alpha, both may underflow to 0.
        if x + y > 0.0 && x + y <= 1.0 {
            return x / (x + y);
        }
    }
}

/// Puts `items` into a uniformly random order (Fisher and Yates).
///
/// # Panics
/// For more than 2^32 - 1 items.
pub(crate) fn shuffle(random: &mut ChaCha8Rng, items: &mut [u32]) {
    assert!(
        items.len() <= u32::MAX as usize,
        "{} items to shuffle",
        items.len()
    );
    for last in (1..items.len()).rev() {
        items.swap(last, below(random, last as u32 + 1) as usize);
    }
}

/// The order in which an epoch visits the records `indices`.
///
/// # Panics
/// For more than 2^32 - 1 indices.
pub fn epoch_order(indices: &[u32], seed: u64, epoch: u64) -> Vec<u32> {
    let mut order = indices.to_vec();
    shuffle(&mut stream(seed, Purpose::Order, epoch, 0), &mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_order_is_a_permutation(
            indices in proptest::collection::vec(any::<u32>(), 0..300), seed: u64, epoch: u64,
        ) {
            let mut order = epoch_order(&indices, seed, epoch);
            prop_assert_eq!(&order, &epoch_order(&indices, seed, epoch));
            let mut sorted = indices.clone();
            order.sort_unstable();
            sorted.sort_unstable();
            prop_assert_eq!(order, sorted);
        }

        #[test]
        fn integers_stay_below_their_bound(seed: u64, bound in 1u32..) {
            let mut random = stream(seed, Purpose::Order, 0, 0);
            prop_assert!((0..20).all(|_| below(&mut random, bound) < bound));
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let indices: Vec<u32> = (0..100).collect();
        let order = epoch_order(&indices, 7, 0);
        assert_ne!(order, indices);
        assert_ne!(order, epoch_order(&indices, 7, 1));
        assert_ne!(order, epoch_order(&indices, 8, 0));
    }

    #[test]
    fn integers_are_uniform() {
        let mut random = stream(1, Purpose::Order, 0, 0);
        let mut counts = [0u32; 9];
        for _ in 0..90_000 {
            counts[below(&mut random, 9) as usize] += 1;
        }
        // Five standard deviations of a binomial count with mean 10,000.
        assert!(
            counts.iter().all(|count| count.abs_diff(10_000) < 475),
            "{counts:?}"
        );
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        for alpha in [0.2, 1.0, 2.0] {
            let mut random = stream(1, Purpose::Mixing, 0, 0);
            let draws: Vec<f64> = (0..20_000).map(|_| beta(&mut random, alpha)).collect();
            let mean = draws.iter().sum::<f64>() / 2e4;
            let variance = draws.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / 2e4;
            assert!((mean - 0.5).abs() < 0.02, "{alpha}: {mean}");
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!(
                (variance / expected - 1.0).abs() < 0.05,
                "{alpha}: {variance}"
            );
        }
    }

    /// The values follow from ChaCha8's definition and were computed independently. Changing them changes
    /// every existing run.
    #[test]
    fn streams_never_change() {
        let mut random = stream(1, Purpose::Augmentation, 2, 3);
        assert_eq!([random.next_u32(), random.next_u32()], RECORDED_WORDS);
        assert_eq!(
            epoch_order(&[0, 1, 2, 3, 4, 5, 6, 7], 42, 3),
            RECORDED_ORDER
        );
    }

    const RECORDED_WORDS: [u32; 2] = [3_444_441_023, 1_653_324_736];
    const RECORDED_ORDER: [u32; 8] = [4, 7, 0, 3, 1, 6, 2, 5];
}
