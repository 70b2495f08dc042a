//! Batch normalisation with the semantics of PyTorch's `BatchNorm2d`.
//!
//! Burn's own module keeps the *biased* batch variance for inference; PyTorch, like the paper
//! ([Ioffe & Szegedy, 2015](https://arxiv.org/abs/1502.03167), algorithm 2), keeps the unbiased one.
//! With momentum `a`, batch mean `m` and unbiased batch variance `v`, a training step leaves
//!
//! ```text
//! running_mean = (1 - a) running_mean + a m
//! running_var  = (1 - a) running_var  + a v
//! ```
//!
//! Inference normalises by the running statistics instead of the batch's. As in Burn, the module trains if
//! the input is on an autodiff device *and* the module's `training` flag is set, so [`Module::valid`] and
//! freezing work as in other modules.

use burn::module::{Flag, Module, ModuleMapper, Param, RunningState};
use burn::tensor::{Device, Tensor, module};
use shufflenet_ops::batch_norm_train;
use shufflenet_ops::fused::{NormConfig, RunningStatistics};

/// Added to the variance under the square root: PyTorch's `eps`.
pub const EPSILON: f64 = 1e-5;
/// Weight of the batch in the running statistics: PyTorch's `momentum`, which is one minus the momentum of
/// the usual definition.
pub const MOMENTUM: f64 = 0.1;

/// Both constants, as the fused operations take them.
pub const CONFIG: NormConfig = NormConfig {
    epsilon: EPSILON,
    momentum: MOMENTUM,
};

/// Batch normalisation of tensors of shape `[batch, channels, height, width]`.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale of each channel, `[channels]`.
    pub gamma: Param<Tensor<1>>,
    /// Shift of each channel, `[channels]`.
    pub beta: Param<Tensor<1>>,
    /// Mean of each channel for inference. Clones of the module *share* this state: see [`Self::unshare`].
    pub running_mean: RunningState<Tensor<1>>,
    /// Unbiased variance of each channel for inference. Clones of the module share this state, too.
    pub running_var: RunningState<Tensor<1>>,
    /// Cleared by freezing and by [`Module::valid`].
    pub training: Param<Flag>,
}

impl BatchNorm {
    /// A batch norm with scale 1, shift 0, running mean 0 and running variance 1.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            gamma: Param::from_tensor(Tensor::ones([channels], device)),
            beta: Param::from_tensor(Tensor::zeros([channels], device)),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_var: RunningState::new(Tensor::ones([channels], device)),
            training: Param::from_bool(true),
        }
    }

    /// Normalises `x`; in training also updates the running statistics.
    ///
    /// # Shapes
    /// - `x`: `[batch, channels, height, width]`
    /// - output: `[batch, channels, height, width]`
    ///
    /// # Panics
    /// When training on one value per channel, which has no variance.
    /// [`ModelConfig::check_training_batch`](crate::ModelConfig::check_training_batch) refuses such a batch
    /// first.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        if !self.is_training(&x) {
            let RunningStatistics { mean, variance } = self.running(&x);
            return module::batch_norm(x, gamma, beta, mean, variance, EPSILON);
        }
        let batch = batch_norm_train(x, gamma, beta, EPSILON);
        let running = self.running(&batch.output);
        let moved = |old: Tensor<1>, batch| old * (1.0 - MOMENTUM) + batch * MOMENTUM;
        self.set_running(RunningStatistics {
            mean: moved(running.mean, batch.mean),
            variance: moved(running.variance, batch.variance),
        });
        batch.output
    }

    /// Whether `x` is normalised by its own statistics rather than the running ones.
    pub fn is_training(&self, x: &Tensor<4>) -> bool {
        x.device().is_autodiff() && self.training.is_enabled()
    }

    /// The running statistics, on the device of `x`.
    pub fn running(&self, x: &Tensor<4>) -> RunningStatistics {
        let device = x.device();
        RunningStatistics {
            mean: self.running_mean.value_sync().to_device(&device),
            variance: self.running_var.value_sync().to_device(&device),
        }
    }

    /// Replaces the running statistics.
    pub fn set_running(&self, running: RunningStatistics) {
        set(&self.running_mean, running.mean);
        set(&self.running_var, running.variance);
    }

    /// Gives this module separate running statistics.
    ///
    /// Burn's `RunningState` holds an `Arc` that a clone shares. Training the clone would change the
    /// original's statistics, and loading weights into one would load them into both.
    pub fn unshare(&mut self) {
        self.running_mean = RunningState::new(self.running_mean.value_sync());
        self.running_var = RunningState::new(self.running_var.value_sync());
    }
}

/// Replaces a running statistic. `RunningState::update` would do, but when the statistic is read next, Burn divides it by
/// the number of threads that updated it: one operation on the device for each statistic and step.
fn set(state: &RunningState<Tensor<1>>, value: Tensor<1>) {
    struct Set(Tensor<1>);
    impl ModuleMapper for Set {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let value = Tensor::from_dispatch(self.0.clone().into_dispatch());
            Param::initialized(param.id, value)
        }
    }
    // A clone shares the state.
    state.clone().map(&mut Set(value.detach()));
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, TensorData, Tolerance};

    use super::*;

    fn assert_close(actual: Tensor<1>, expected: [f32; 2]) {
        let tolerance = Tolerance::<f32>::absolute(1e-6);
        let expected = TensorData::from(expected);
        actual.into_data().assert_approx_eq(&expected, tolerance);
    }

    /// Channel 0 holds 1, 2, 3, 4 and channel 1 holds 10, 10, 10, 14.
    fn batch(device: &Device) -> Tensor<4> {
        let values = vec![1.0f32, 2.0, 10.0, 10.0, 3.0, 4.0, 10.0, 14.0];
        Tensor::from_data(TensorData::new(values, [2, 2, 1, 2]), device)
    }

    #[test]
    fn training_moves_the_statistics_as_pytorch_does() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm::new(2, &device);
        norm.forward(batch(&device));
        assert_close(norm.running_mean.value_sync(), [0.25, 1.1]);
        assert_close(norm.running_var.value_sync(), [0.9 + 0.5 / 3.0, 1.3]);
        norm.forward(batch(&device));
        assert_close(norm.running_mean.value_sync(), [0.475, 2.09]);
    }

    #[test]
    fn inference_uses_the_statistics_and_leaves_them() {
        let device = Device::flex();
        let trained = BatchNorm::new(2, &device.clone().autodiff());
        trained.forward(batch(&device.clone().autodiff()));
        let norm = trained.valid();
        let y = norm.forward(batch(&device));
        let first = y.into_data().iter::<f32>().next().unwrap();
        assert!((first - 0.75 / (0.9f32 + 0.5 / 3.0 + 1e-5).sqrt()).abs() < 1e-6);
        assert_close(norm.running_mean.value_sync(), [0.25, 1.1]);
    }

    #[test]
    fn a_frozen_module_infers_on_a_training_device() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm::new(2, &device).freeze();
        norm.forward(batch(&device));
        assert_close(norm.running_mean.value_sync(), [0.0, 0.0]);
    }

    #[test]
    fn an_unshared_clone_keeps_to_itself() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm::new(2, &device);
        let mut clone = norm.clone();
        clone.unshare();
        clone.forward(batch(&device));
        assert_close(norm.running_mean.value_sync(), [0.0, 0.0]);
        assert_close(clone.running_mean.value_sync(), [0.25, 1.1]);
    }

    #[test]
    #[should_panic(expected = "channels of 1 values")]
    fn one_value_per_channel_cannot_train() {
        let device = Device::flex().autodiff();
        let x = Tensor::random([1, 2, 1, 1], Distribution::Default, &device);
        BatchNorm::new(2, &device).forward(x);
    }
}
