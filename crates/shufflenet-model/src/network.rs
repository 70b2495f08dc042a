//! ShuffleNetV2 itself (Ma et al., 2018, [Practical Guidelines for Efficient CNN Architecture
//! Design](https://arxiv.org/abs/1807.11164), table 5): stem, three stages, last 1x1 convolution,
//! global average pooling, linear classifier.

use burn::module::Module;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use shufflenet_ops::training;

use crate::batch_norm::EPSILON;
use crate::config::{Layout, ModelConfig};
use crate::conv_norm::{ConvNorm, has_kernel, settle};
use crate::error::ModelError;
use crate::initialise::Initialiser;
use crate::unit::{BasicUnit, DownsampleUnit};

/// The network: images in, one logit per class out.
#[derive(Module, Debug)]
pub struct ShuffleNetV2 {
    /// The first convolution.
    pub stem: ConvNorm,
    /// The stem's max pooling, where it has one.
    pub pool: Option<MaxPool2d>,
    /// The stages, each halving the map.
    pub stages: Vec<Stage>,
    /// The last 1x1 convolution.
    pub last: ConvNorm,
    /// The classifier on the pooled features.
    pub classifier: Linear,
    #[module(skip)]
    config: ModelConfig,
}

/// Units that share a map size and, but for the first, a width.
#[derive(Module, Debug)]
pub struct Stage {
    /// Halves the map.
    pub downsample: DownsampleUnit,
    /// The stride-1 units after it.
    pub units: Vec<BasicUnit>,
}

impl ShuffleNetV2 {
    /// Builds the network on `device` with PyTorch's default initial weights, drawn from `seed`: the
    /// same numbers on every device. For training, give an autodiff device.
    ///
    /// # Errors
    /// [`ModelError::Count`] for channels or classes that are zero or absurd.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.check_counts()?;
        let init = &mut Initialiser::new(seed, device);
        let [stem, stage2, stage3, stage4, last] = config.scale.widths();
        let kind = config.stem();
        let mut inputs = stem;
        Ok(Self {
            stem: ConvNorm::dense([config.input_channels, stem], kind.stride(), init),
            pool: kind.pool_padding().map(max_pool),
            stages: [stage2, stage3, stage4]
                .into_iter()
                .zip(config.repeats())
                .map(|(width, repeats)| {
                    let stage = Stage::new(config.layout, [inputs, width], repeats, init);
                    inputs = width;
                    stage
                })
                .collect(),
            last: ConvNorm::pointwise([stage4, last], init),
            classifier: Linear {
                weight: init.uniform([last, config.classes], last),
                bias: Some(init.uniform([config.classes], last)),
            },
            config: config.clone(),
        })
    }

    /// The configuration that it was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The logits of a batch.
    ///
    /// On an autodiff device, batch norm uses and follows the batch's own statistics; otherwise
    /// (after [`Module::valid`]) the running ones.
    ///
    /// # Shapes
    /// - `images`: `[batch, input_channels, height, width]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    /// When the images do not have the configured channels, are too small for the stem
    /// ([`ModelConfig::validate`] says so first), or leave batch norm one value to train on
    /// ([`ModelConfig::check_training_batch`]).
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.forward_stem(images);
        let x = self.stages.iter().fold(x, |x, stage| stage.forward(x));
        self.classifier.forward(self.forward_head(x))
    }

    /// Convolution and pooling, one kernel where there is one.
    fn forward_stem(&self, images: Tensor<4>) -> Tensor<4> {
        if has_kernel([&self.stem], &images) {
            let (weights, kind) = (self.stem.weights(), self.config.stem());
            let (stride, pool) = (kind.stride(), kind.pool_padding());
            let stem = training::stem(images, weights, stride, pool, EPSILON);
            return settle(stem, [&self.stem]);
        }
        let x = self.stem.forward(images);
        match &self.pool {
            Some(pool) => pool.forward(x),
            None => x,
        }
    }

    /// The last convolution, averaged over the map; one kernel where there is one.
    fn forward_head(&self, x: Tensor<4>) -> Tensor<2> {
        if has_kernel([&self.last], &x) {
            let head = training::head(x, self.last.weights(), EPSILON);
            return settle(head, [&self.last]);
        }
        global_average(self.last.forward(x))
    }

    /// The same network with batch-norm statistics of its own.
    ///
    /// A clone of a Burn module shares them with the original. Anything that lives beside the
    /// network it was cloned from (averaged weights, a comparison, a second set of weights to load)
    /// is to be unshared first.
    pub fn unshare(mut self) -> Self {
        self.stem.norm.unshare();
        for stage in &mut self.stages {
            stage.convolutions().for_each(|conv| conv.norm.unshare());
        }
        self.last.norm.unshare();
        self
    }
}

impl Stage {
    /// From `inputs` channels to `outputs`.
    fn new(
        layout: Layout,
        [inputs, outputs]: [usize; 2],
        repeats: usize,
        init: &mut Initialiser,
    ) -> Self {
        // What the downsampling unit's two branches give together: the stage's width, or only
        // twice the input's, which then leaves the widening to the first basic unit.
        let (branch, seed) = match layout {
            Layout::Standard => (outputs / 2, false),
            Layout::Seed => (inputs, true),
        };
        let downsample = DownsampleUnit::new(inputs, branch, seed, init);
        let mut width = 2 * branch;
        let units = (0..repeats).map(|_| {
            let residual = seed && width == outputs;
            let unit = BasicUnit::new([width, outputs], width / 2, residual, init);
            width = outputs;
            unit
        });
        Self {
            units: units.collect(),
            downsample,
        }
    }

    /// # Shapes
    /// - `x`: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, ceil(height / 2), ceil(width / 2)]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.downsample.forward(x);
        self.units.iter().fold(x, |x, unit| unit.forward(x))
    }

    fn convolutions(&mut self) -> impl Iterator<Item = &mut ConvNorm> {
        let Self { downsample, units } = self;
        let left = [
            &mut downsample.left_depthwise,
            &mut downsample.left_pointwise,
        ];
        let rights = units.iter_mut().map(|unit| &mut unit.right);
        let rights = std::iter::once(&mut downsample.right).chain(rights);
        let rights = rights.flat_map(|branch| {
            [
                &mut branch.pointwise1,
                &mut branch.depthwise,
                &mut branch.pointwise2,
            ]
        });
        left.into_iter().chain(rights)
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

/// The mean of each channel's map: `[batch, channels, height, width]` to `[batch, channels]`.
fn global_average(x: Tensor<4>) -> Tensor<2> {
    x.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2)
}
