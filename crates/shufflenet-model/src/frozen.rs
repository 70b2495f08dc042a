//! A network in inference on a GPU: its norms are made of running statistics once, for many batches.

use burn::module::Module;
use burn::tensor::Tensor;
use shufflenet_ops::frozen::{self, FrozenConv};

use crate::batch_norm::EPSILON;
use crate::conv_norm::ConvNorm;
use crate::network::{ShuffleNetV2, Stage};
use crate::unit::Branch;

/// The network, and its convolutions as the kernels take them.
pub(crate) struct Frozen {
    network: ShuffleNetV2,
    stem: FrozenConv,
    stages: Vec<FrozenStage>,
    head: FrozenConv,
}

struct FrozenStage {
    right: [FrozenConv; 3],
    left: [FrozenConv; 2],
    units: Vec<[FrozenConv; 3]>,
}

impl Frozen {
    /// `None`: the kernels do not serve the network's device, or squeeze-and-excitation.
    pub(crate) fn new(network: &ShuffleNetV2) -> Option<Self> {
        let network = network.valid();
        let weight = network.stem.conv.weight.val();
        if network.config().squeeze_excitation || !frozen::serves(&weight) {
            return None;
        }
        Some(Self {
            stem: conv(&network.stem),
            stages: network.stages.iter().map(stage).collect(),
            head: conv(&network.last),
            network,
        })
    }

    /// The logits, as [`ShuffleNetV2::forward`] has them.
    pub(crate) fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let network = &self.network;
        let stem = network.config().stem();
        let mut x = frozen::stem(images, &self.stem, stem.stride(), stem.pool_padding());
        for (stage, frozen) in network.stages.iter().zip(&self.stages) {
            let first = stage.downsample.right_first;
            x = frozen::downsample_unit(x, &frozen.right, &frozen.left, first);
            for (unit, right) in stage.units.iter().zip(&frozen.units) {
                x = frozen::basic_unit(x, right, unit.left_channels, unit.residual);
            }
        }
        network.classifier.forward(frozen::head(x, &self.head))
    }
}

fn stage(stage: &Stage) -> FrozenStage {
    let unit = &stage.downsample;
    FrozenStage {
        right: branch(&unit.right),
        left: [&unit.left_depthwise, &unit.left_pointwise].map(conv),
        units: stage.units.iter().map(|unit| branch(&unit.right)).collect(),
    }
}

fn branch(branch: &Branch) -> [FrozenConv; 3] {
    [&branch.pointwise1, &branch.depthwise, &branch.pointwise2].map(conv)
}

fn conv(conv: &ConvNorm) -> FrozenConv {
    let norm = &conv.norm;
    FrozenConv::new(
        conv.conv.weight.val(),
        [&norm.gamma, &norm.beta].map(|param| param.val()),
        [&norm.running_mean, &norm.running_var].map(|state| state.value_sync()),
        EPSILON,
    )
}
