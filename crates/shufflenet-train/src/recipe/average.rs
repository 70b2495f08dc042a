//! An exponential moving average of the weights (Polyak & Juditsky, 1992), which often classifies better
//! than the weights themselves.
//!
//! After each optimizer step, with decay `d`, for every parameter and running statistic `w`:
//!
//! ```text
//! average = d average + (1 - d) w
//! ```
//!
//! and `average = w` after the first step, without a correction later. PyTorch's `AveragedModel` computes the same with
//! `get_ema_multi_avg_fn(d)` and `use_buffers=True`.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use shufflenet_model::{ShuffleNetV2, flat};

/// Label of the average's metrics.
pub const LABEL: &str = "ema";

/// `average` moved towards `network`. Both are networks for inference (after `valid()`) of one architecture.
pub fn follow(average: ShuffleNetV2, network: &ShuffleNetV2, decay: f64) -> ShuffleNetV2 {
    let [old, new] = [&average, network].map(|network| {
        let mut values = Values(Vec::new());
        network.visit(&mut values);
        values.0
    });
    let followed = flat::elementwise([old, new], |[average, value]| {
        average.mul_scalar(decay).add(value.mul_scalar(1.0 - decay))
    });
    average.map(&mut Follower(followed.into_iter()))
}

/// Tensors of a network in the order of its fields, each in one row. (Ids cannot identify them, because loading weights
/// gives running statistics new ids.)
struct Values(Vec<Tensor<1>>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().reshape([-1]));
    }
}

struct Follower(std::vec::IntoIter<Tensor<1>>);

impl ModuleMapper for Follower {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.next() {
            Some(value) => param.map(|average| value.reshape(average.shape())),
            None => param,
        }
    }
}
