//! Random input for tests of units and of whole networks.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Noise of mean 0.3 and variance 1; the same seed gives the same noise.
///
/// Burn's generator is not used, because there is one per process. Tests that run in parallel would take numbers from each
/// other.
pub fn noise<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    // The sum of twelve uniform numbers has a variance of one.
    let mut draw = || (0..12).map(|_| uniform(&mut generator)).sum::<f32>() - 6.0 + 0.3;
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn uniform(generator: &mut ChaCha8Rng) -> f32 {
    (generator.next_u32() >> 8) as f32 / 16_777_216.0
}
