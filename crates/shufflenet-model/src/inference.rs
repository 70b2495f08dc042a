//! A network prepared for inference: batch norms are folded and weights packed once, for many batches.
//!
//! On the CPU it is a [`Chain`], several times as fast as [`ShuffleNetV2::forward`]; tests compare the two.
//! On a GPU it is the kernels of training with frozen norms (`frozen.rs`). Elsewhere, and with squeeze-and-excitation,
//! which both lack, it is the network itself in inference mode.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use shufflenet_ops::fused::Precision;
use shufflenet_ops::inference::{BasicParts, Chain, Folded, FrozenNorm, Parts, StageParts};

use crate::batch_norm::EPSILON;
use crate::conv_norm::ConvNorm;
#[cfg(feature = "gpu")]
use crate::frozen::Frozen;
use crate::network::{ShuffleNetV2, Stage};
use crate::unit::{BasicUnit, Branch};

/// A network prepared for inference, see the [module](self). Later changes of the network's weights have no
/// effect on it.
pub struct Inference {
    path: Path,
    precision: Precision,
}

enum Path {
    Chain(Box<Chain>),
    #[cfg(feature = "gpu")]
    Frozen(Box<Frozen>),
    Network(Box<ShuffleNetV2>),
}

impl Inference {
    /// Prepares `network`, in training or not, for inference on its device, in float32.
    pub fn new(network: &ShuffleNetV2) -> Self {
        Self::with_precision(network, Precision::F32)
    }

    /// Prepares `network` with activations stored as `precision` between the passes of the [`Chain`]. Where there is no
    /// chain, they are float32, whatever is asked for: [`Self::precision`] tells.
    pub fn with_precision(network: &ShuffleNetV2, precision: Precision) -> Self {
        let weight = network.classifier.weight.val();
        let on_cpu = weight.device().inner() == Device::flex() && weight.dtype() == DType::F32;
        if on_cpu && !network.config().squeeze_excitation {
            return Self {
                path: Path::Chain(Box::new(Chain::new(&parts(network), precision))),
                precision,
            };
        }
        Self {
            path: elsewhere(network),
            precision: Precision::F32,
        }
    }

    /// What activations are stored as.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The logits of a batch, in float32, equal to those of [`ShuffleNetV2::forward`] in inference up to rounding.
    ///
    /// # Shapes
    /// - `images`: `[batch, input_channels, height, width]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    /// Under the conditions of [`ShuffleNetV2::forward`].
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let chain = match &self.path {
            Path::Chain(chain) => chain,
            #[cfg(feature = "gpu")]
            Path::Frozen(network) => return network.forward(images),
            Path::Network(network) => return network.forward(images),
        };
        let [count, channels, height, width] = images.dims();
        assert_eq!(channels, chain.input_channels(), "channels of the images");
        let (device, size) = (images.device(), [count, height, width]);
        let logits = with_values(images, |images| chain.run(images, size));
        Tensor::from_data(TensorData::new(logits, [count, chain.classes()]), &device)
    }
}

/// The way of a device that has no chain.
fn elsewhere(network: &ShuffleNetV2) -> Path {
    #[cfg(feature = "gpu")]
    if let Some(network) = Frozen::new(network) {
        return Path::Frozen(Box::new(network));
    }
    Path::Network(Box::new(network.valid()))
}

fn parts(network: &ShuffleNetV2) -> Parts {
    let (config, classifier) = (network.config(), &network.classifier);
    let bias = classifier.bias.as_ref();
    Parts {
        input_channels: config.input_channels(),
        stem: folded(&network.stem),
        stem_stride: config.stem().stride(),
        pool: config.stem().pool_padding(),
        stages: network.stages.iter().map(stage).collect(),
        head: folded(&network.last),
        classifier: Folded {
            weight: values(classifier.weight.val().transpose()),
            bias: bias.map_or(vec![0.0; config.classes()], |bias| values(bias.val())),
        },
    }
}

fn stage(stage: &Stage) -> StageParts {
    let unit = &stage.downsample;
    StageParts {
        right: branch(&unit.right),
        left: [&unit.left_depthwise, &unit.left_pointwise].map(folded),
        right_first: unit.right_first,
        units: stage.units.iter().map(basic).collect(),
    }
}

fn basic(unit: &BasicUnit) -> BasicParts {
    BasicParts {
        left_channels: unit.left_channels,
        residual: unit.residual,
        right: branch(&unit.right),
    }
}

fn branch(branch: &Branch) -> [Folded; 3] {
    [&branch.pointwise1, &branch.depthwise, &branch.pointwise2].map(folded)
}

fn folded(conv: &ConvNorm) -> Folded {
    let norm = &conv.norm;
    let [gamma, beta] = [&norm.gamma, &norm.beta].map(|param| values(param.val()));
    let [mean, variance] =
        [&norm.running_mean, &norm.running_var].map(|state| values(state.value_sync()));
    let norm = FrozenNorm {
        gamma: &gamma,
        beta: &beta,
        mean: &mean,
        variance: &variance,
        epsilon: EPSILON,
    };
    Folded::new(values(conv.conv.weight.val()), &norm)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    with_values(tensor, <[f32]>::to_vec)
}

/// The result of `f` on a tensor's values as float32, whatever the tensor's type.
fn with_values<const D: usize>(tensor: Tensor<D>, f: impl FnOnce(&[f32]) -> Vec<f32>) -> Vec<f32> {
    let data = tensor.into_data();
    match data.as_slice::<f32>() {
        Ok(values) => f(values),
        Err(_) => f(&data.iter::<f32>().collect::<Vec<_>>()),
    }
}
