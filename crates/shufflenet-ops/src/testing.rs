//! Numbers that the tests of several modules compute with.

/// `count` numbers from -1 to 1 without a pattern, different for each seed.
pub fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| ((i * i * 7919 + seed * 104_729) % 1_009) as f32 / 504.5 - 1.0;
    (0..count).map(number).collect()
}
