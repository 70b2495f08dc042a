//! Initial weights: PyTorch's default distributions, drawn on the host.
//!
//! PyTorch initialises convolutions and linear layers with `kaiming_uniform_(a = sqrt(5))` (He et al.,
//! 2015, [Delving Deep into Rectifiers](https://arxiv.org/abs/1502.01852)), which is
//!
//! ```text
//! weight, bias ~ U(-b, b),   b = 1 / sqrt(fan_in),
//! ```
//!
//! where `fan_in` is the number of inputs that one output sums over. A device's own generator would give
//! different weights on every backend, so the numbers come from ChaCha8. Parameter `i`, in the order in
//! which the network is built, uses stream `i` of the generator keyed by the seed. The same seed gives the
//! same network on every device.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Creates initial parameters on a device.
pub(crate) struct Initialiser<'a> {
    seed: u64,
    stream: u64,
    /// Device of the parameters.
    pub device: &'a Device,
}

impl<'a> Initialiser<'a> {
    pub fn new(seed: u64, device: &'a Device) -> Self {
        Self {
            seed,
            stream: 0,
            device,
        }
    }

    /// The next parameter: `U(-b, b)` with `b = 1 / sqrt(fan_in)`.
    pub fn uniform<const D: usize>(
        &mut self,
        shape: [usize; D],
        fan_in: usize,
    ) -> Param<Tensor<D>> {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(self.stream);
        self.stream += 1;
        let bound = (1.0 / (fan_in as f64).sqrt()) as f32;
        // A float32 holds 24 random bits: k / 2^23 - 1 is exact, and only the product rounds.
        let draw = |_| {
            let k = generator.next_u32() >> 8;
            bound * (k as f32 / 8_388_608.0 - 1.0)
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(draw).collect();
        Param::from_data(TensorData::new(values, shape), self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(param: &Param<Tensor<2>>) -> Vec<f32> {
        param.val().into_data().iter::<f32>().collect()
    }

    #[test]
    fn it_is_uniform_between_the_bounds() {
        let device = Device::flex();
        let mut initialiser = Initialiser::new(7, &device);
        let fan_in = 16;
        let values = values(&initialiser.uniform([400, 500], fan_in));
        let bound = 0.25;
        let mean = |f: fn(f64) -> f64| {
            let sum: f64 = values.iter().map(|&x| f(f64::from(x))).sum();
            sum / values.len() as f64
        };
        // Moments of U(-b, b): 0, b^2 / 3, 0, b^4 / 5. The tolerance of each is five standard deviations.
        assert!(values.iter().all(|x| (-bound..=bound).contains(x)));
        assert!(mean(|x| x).abs() < 5.0 * 0.25 / (3.0f64 * 2e5).sqrt());
        let b2 = 0.0625;
        assert!((mean(|x| x * x) / (b2 / 3.0) - 1.0).abs() < 0.01);
        assert!((mean(|x| x.powi(4)) / (b2 * b2 / 5.0) - 1.0).abs() < 0.02);
        let reach = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        assert!(reach > 0.9999 * bound);
    }

    #[test]
    fn the_seed_and_the_order_decide() {
        let device = Device::flex();
        let draw = |seed| {
            let mut initialiser = Initialiser::new(seed, &device);
            [0, 1].map(|_| values(&initialiser.uniform([8, 8], 9)))
        };
        let [first, second] = draw(1);
        assert_eq!(draw(1), [first.clone(), second.clone()]);
        assert_ne!(first, second);
        assert_ne!(draw(2)[0], first);
    }
}
