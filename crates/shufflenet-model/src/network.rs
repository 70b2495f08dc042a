//! The whole ShuffleNetV2 (Ma et al., 2018, [Practical Guidelines for Efficient CNN Architecture
//! Design](https://arxiv.org/abs/1807.11164), table 5): stem, stages (three in the paper), last 1x1 convolution, global
//! average pooling, linear classifier.
//!
//! The fields of [`ShuffleNetV2`] are the rows of that table, from top to bottom. The widths are in
//! [`Scale::widths`](crate::Scale::widths), the stems (rows `Conv1` and `MaxPool`) in
//! [`Stem`](crate::Stem), and the units that a [`Stage`] repeats in [`crate::unit`].

use burn::module::Module;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use shufflenet_ops::fused::{self, Precision};

use crate::batch_norm::{BatchNorm, CONFIG};
use crate::config::{Layout, ModelConfig, Widths};
use crate::conv_norm::{
    ConvNorm, kernels_serve, kernels_serve_map, precision, update_running_statistics,
};
use crate::error::ModelError;
use crate::initialise::Initialiser;
use crate::plan::StagePlan;
use crate::unit::{BasicUnit, Branch, DownsampleUnit};

/// The network: takes images and returns one logit per class.
#[derive(Module, Debug)]
pub struct ShuffleNetV2 {
    /// The first convolution.
    pub stem: ConvNorm,
    /// The stem's max pooling. `None` for the stem `cifar`.
    pub pool: Option<MaxPool2d>,
    /// The stages, each halving the map.
    pub stages: Vec<Stage>,
    /// The last 1x1 convolution.
    pub last: ConvNorm,
    /// Dropout of the pooled features, in training only.
    pub dropout: Dropout,
    /// The classifier on the pooled features.
    pub classifier: Linear,
    #[module(skip)]
    config: ModelConfig,
    #[module(skip)]
    precision: Precision,
}

/// Units that share a map size and, except for the first one, a width.
#[derive(Module, Debug)]
pub struct Stage {
    /// The unit that halves the map.
    pub downsample: DownsampleUnit,
    /// The stride-1 units after it.
    pub units: Vec<BasicUnit>,
}

impl ShuffleNetV2 {
    /// Builds the network on `device` with PyTorch's default initial weights, drawn from `seed`. The
    /// weights are the same on every device. Use an autodiff device for training.
    ///
    /// # Errors
    /// Errors are those of [`ModelConfig::validate`], except for the images' size.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        let plans = config.plan()?;
        let init = &mut Initialiser::new(seed, device);
        let Widths { stem, stages, last } = config.widths();
        let before_last = stages.last().copied().unwrap_or(stem);
        let kind = config.stem();
        Ok(Self {
            stem: ConvNorm::dense([config.input_channels(), stem], kind.stride(), init),
            pool: kind.pool_padding().map(max_pool),
            stages: plans
                .iter()
                .map(|plan| Stage::new(config, plan, init))
                .collect(),
            last: ConvNorm::pointwise([before_last, last], init),
            dropout: DropoutConfig::new(config.dropout).init(),
            classifier: Linear {
                weight: init.uniform([last, config.classes()], last),
                bias: Some(init.uniform([config.classes()], last)),
            },
            config: config.clone(),
            precision: Precision::F32,
        })
    }

    /// The network with activations, and their gradients, stored as `precision` in training, where the device has
    /// kernels for it (the CPU, Burn's Flex, and GPUs). What kernels do not serve (squeeze-and-excitation, frozen batch
    /// norms; on a GPU an odd number of channels) computes in float32 between such activations. Weights, features,
    /// logits and inference are float32.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// What activations are stored as in training.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The configuration that the network was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The logits of a batch.
    ///
    /// On an autodiff device, batch norm uses the batch's statistics and updates the running ones, and
    /// dropout is active. Otherwise (after [`Module::valid`]) batch norm uses the running statistics.
    ///
    /// # Shapes
    /// - `images`: `[batch, input_channels, height, width]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    /// When the images do not have the configured channels, are too small for the stem
    /// ([`ModelConfig::validate`] refuses those first), or leave batch norm one value to train on
    /// ([`ModelConfig::check_training_batch`] refuses those first).
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.dropout.forward(self.features(images));
        self.classifier.forward(features)
    }

    /// The input of the classifier before dropout: the mean of each channel of the last map.
    ///
    /// # Shapes
    /// - `images`: `[batch, input_channels, height, width]`
    /// - output: `[batch, channels]`, the last of [`ModelConfig::widths`]
    ///
    /// # Panics
    /// Under the conditions of [`Self::forward`].
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.forward_stem(images);
        let x = self.stages.iter().fold(x, |x, stage| stage.forward(x));
        self.forward_head(x)
    }

    /// Convolution and pooling, by one kernel if the device has it.
    fn forward_stem(&self, images: Tensor<4>) -> Tensor<4> {
        let convolution = || std::iter::once(&self.stem);
        if kernels_serve(convolution(), &images, self.precision) {
            let (weights, kind) = (self.stem.weights(&images), self.config.stem());
            let (stride, pool) = (kind.stride(), kind.pool_padding());
            let stem = fused::stem(images, weights, stride, pool, self.precision, CONFIG);
            return update_running_statistics(stem, convolution());
        }
        let training_by_kernels = images.device().is_autodiff() && fused::serves(&images);
        let x = self.plain_stem(images);
        match self.precision {
            Precision::Bf16 if training_by_kernels => fused::cast(x, Precision::Bf16),
            _ => x,
        }
    }

    /// The stem in plain Burn operations.
    fn plain_stem(&self, images: Tensor<4>) -> Tensor<4> {
        let x = self.stem.forward(images);
        match &self.pool {
            Some(pool) => pool.forward(x),
            None => x,
        }
    }

    /// The last convolution, averaged over the map; by one kernel if the device has it.
    fn forward_head(&self, x: Tensor<4>) -> Tensor<2> {
        let convolution = || std::iter::once(&self.last);
        if kernels_serve_map(convolution(), &x) {
            let weights = self.last.weights(&x);
            let head = fused::head(x, weights, CONFIG);
            return update_running_statistics(head, convolution());
        }
        self.plain_head(match precision(&x) {
            Precision::Bf16 => fused::cast(x, Precision::F32),
            Precision::F32 => x,
        })
    }

    /// The head in plain Burn operations.
    fn plain_head(&self, x: Tensor<4>) -> Tensor<2> {
        global_average(self.last.forward(x))
    }

    /// Gives the network separate batch-norm statistics.
    ///
    /// A clone of a Burn module shares the statistics with the original. Call this first on any clone that
    /// is used beside the original (averaged weights, a comparison, a second set of weights to load).
    pub fn unshare(mut self) -> Self {
        self.stem.norm.unshare();
        for stage in &mut self.stages {
            stage.norms().for_each(BatchNorm::unshare);
        }
        self.last.norm.unshare();
        self
    }
}

impl Stage {
    fn new(config: &ModelConfig, plan: &StagePlan, init: &mut Initialiser) -> Self {
        let squeeze = config.squeeze_excitation;
        let right_first = config.layout == Layout::Seed;
        let downsample = DownsampleUnit::new(plan, right_first, squeeze, init);
        let units = plan.units.iter();
        Self {
            units: units
                .map(|unit| BasicUnit::new(unit, squeeze, init))
                .collect(),
            downsample,
        }
    }

    /// Runs the downsampling unit and then the stride-1 units.
    ///
    /// # Shapes
    /// - `x`: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, ceil(height / 2), ceil(width / 2)]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.downsample.forward(x);
        self.units.iter().fold(x, |x, unit| unit.forward(x))
    }

    fn norms(&mut self) -> impl Iterator<Item = &mut BatchNorm> {
        let Self { downsample, units } = self;
        let left = [
            &mut downsample.left_depthwise.norm,
            &mut downsample.left_pointwise.norm,
        ];
        let rights = units.iter_mut().map(|unit| &mut unit.right);
        let rights = std::iter::once(&mut downsample.right).chain(rights);
        left.into_iter().chain(rights.flat_map(Branch::norms))
    }
}

/// 3x3 max pooling of stride 2.
fn max_pool(padding: usize) -> MaxPool2d {
    MaxPool2dConfig::new([3, 3])
        .with_strides([2, 2])
        .with_padding(PaddingConfig2d::Explicit(
            padding, padding, padding, padding,
        ))
        .init()
}

/// The mean over each channel's map: `[batch, channels, height, width]` to `[batch, channels]`.
pub(crate) fn global_average(x: Tensor<4>) -> Tensor<2> {
    x.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2)
}

#[cfg(test)]
mod tests;
