//! A network prepared for inference: batch norms are folded and weights packed once, for many batches.
//!
//! On the CPU it is a [`Chain`], several times as fast as [`ShuffleNetV2::forward`]; tests compare the two.
//! On a GPU it is the kernels of training with frozen norms (`frozen.rs`). Elsewhere, and with squeeze-and-excitation,
//! which both lack, it is the network itself in inference mode.

use std::collections::HashMap;
use std::convert::Infallible;

use burn::module::{Module, ParamId};
use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor, TensorData};
use shufflenet_ops::fused::Precision;
use shufflenet_ops::inference::{
    BasicParts, Chain, Folded, FrozenNorm, LayerNames, Parts, StageParts,
};

use crate::batch_norm::EPSILON;
use crate::conv_norm::ConvNorm;
use crate::entries::entries;
#[cfg(feature = "gpu")]
use crate::frozen::Frozen;
use crate::names::names;
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
                path: Path::Chain(Box::new(chain(network, precision))),
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

fn chain(network: &ShuffleNetV2, precision: Precision) -> Chain {
    let folded = |layer: &Layer| Ok::<_, Infallible>(folded(layer));
    let Ok(parts) = parts(network).map(folded);
    Chain::new(&parts, precision)
}

/// The way of a device that has no chain.
fn elsewhere(network: &ShuffleNetV2) -> Path {
    #[cfg(feature = "gpu")]
    if let Some(network) = Frozen::new(network) {
        return Path::Frozen(Box::new(network));
    }
    Path::Network(Box::new(network.valid()))
}

/// A layer of the network, with its weights.
pub(crate) enum Layer<'a> {
    Conv(&'a ConvNorm),
    Classifier(&'a Linear),
}

/// The network as the [`Chain`] takes it. Without squeeze-and-excitation.
pub(crate) fn parts(network: &ShuffleNetV2) -> Parts<Layer<'_>> {
    let config = network.config();
    Parts {
        input_channels: config.input_channels(),
        stem: Layer::Conv(&network.stem),
        stem_stride: config.stem().stride(),
        pool: config.stem().pool_padding(),
        stages: network.stages.iter().map(stage).collect(),
        head: Layer::Conv(&network.last),
        classifier: Layer::Classifier(&network.classifier),
    }
}

/// The names in weight files of each layer's tensors, in the network's structure. Without squeeze-and-excitation.
pub fn tensor_names(network: &ShuffleNetV2) -> Parts<LayerNames> {
    let table = names(network.config());
    let place = |path: String| table.iter().position(|name| name.path == path);
    let places: HashMap<ParamId, usize> = entries(network)
        .into_iter()
        .filter_map(|entry| Some((entry.id, place(entry.path)?)))
        .collect();
    // A layer's names follow one another in the table, the weight's first.
    let file = |weight: ParamId, next: usize| {
        let place = places.get(&weight).map(|place| place + next);
        let name = place.and_then(|place| table.get(place));
        name.map(|name| name.file.clone()).unwrap_or_default()
    };
    let names = |layer: &Layer| {
        Ok::<_, Infallible>(match layer {
            Layer::Conv(ConvNorm { conv, .. }) => LayerNames::Conv {
                weight: file(conv.weight.id, 0),
                norm: [1, 2, 3, 4].map(|next| file(conv.weight.id, next)),
            },
            Layer::Classifier(linear) => LayerNames::Linear {
                weight: file(linear.weight.id, 0),
                bias: file(linear.weight.id, 1),
            },
        })
    };
    let Ok(parts) = parts(network).map(names);
    parts
}

fn stage(stage: &Stage) -> StageParts<Layer<'_>> {
    let unit = &stage.downsample;
    StageParts {
        right: branch(&unit.right),
        left: [&unit.left_depthwise, &unit.left_pointwise].map(Layer::Conv),
        right_first: unit.right_first,
        units: stage.units.iter().map(basic).collect(),
    }
}

fn basic(unit: &BasicUnit) -> BasicParts<Layer<'_>> {
    BasicParts {
        left_channels: unit.left_channels,
        residual: unit.residual,
        right: branch(&unit.right),
    }
}

fn branch(branch: &Branch) -> [Layer<'_>; 3] {
    [&branch.pointwise1, &branch.depthwise, &branch.pointwise2].map(Layer::Conv)
}

fn folded(layer: &Layer) -> Folded {
    let conv = match layer {
        Layer::Conv(conv) => conv,
        Layer::Classifier(linear) => {
            let weight = values(linear.weight.val().transpose());
            let bias = linear.bias.as_ref().map(|bias| values(bias.val()));
            let bias = bias.unwrap_or_else(|| vec![0.0; linear.weight.dims()[1]]);
            return Folded { weight, bias };
        }
    };
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
