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
use burn::tensor::container::TensorContainer;
use shufflenet_model::ShuffleNetV2;

/// Label of the average's metrics.
pub const LABEL: &str = "ema";

/// `average` moved towards `network`, two classifying networks (after `valid()`) of one architecture.
pub fn follow(average: ShuffleNetV2, network: &ShuffleNetV2, decay: f64) -> ShuffleNetV2 {
    let mut values = Values {
        tensors: TensorContainer::new(),
        count: 0,
    };
    network.visit(&mut values);
    average.map(&mut Follower {
        values: values.tensors,
        next: 0,
        decay,
    })
}

/// Tensors of a network by their number in the order of its fields. (Ids do not serve: loading weights gives running
/// statistics new ones.)
struct Values {
    tensors: TensorContainer<usize>,
    count: usize,
}

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.tensors.register(self.count, param.val());
        self.count += 1;
    }
}

struct Follower {
    values: TensorContainer<usize>,
    next: usize,
    decay: f64,
}

impl ModuleMapper for Follower {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = self.values.remove::<Tensor<D>>(&self.next);
        self.next += 1;
        let Some(value) = value else {
            return param;
        };
        let decay = self.decay;
        param.map(|average| average.mul_scalar(decay).add(value.mul_scalar(1.0 - decay)))
    }
}
