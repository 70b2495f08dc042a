//! Export of the network as an [ONNX](https://onnx.ai) file.
//!
//! The graph is the network in inference mode, operation by operation: convolutions, batch norms (runtimes fold them)
//! and ReLUs; for the units also `Split`, `Concat` and the channel shuffle as the paper describes it: reshape to two
//! groups, transpose, reshape back. Tensors have their names in weight files. The graph takes any number of images of
//! one size, or of any size ([`Sizes`]), and returns logits. No library is needed: the format is a few nested messages
//! (`messages.rs`) of Protocol Buffers (`protobuf.rs`).

mod messages;
mod protobuf;

use std::collections::{BTreeMap, HashMap};

use burn::module::Module;
use burn::nn::conv::Conv2d;

use crate::WeightsError;
use crate::batch_norm::EPSILON;
use crate::config::halved;
use crate::conv_norm::ConvNorm;
use crate::error::ModelError;
use crate::names::names;
use crate::network::{ShuffleNetV2, Stage};
use crate::squeeze_excitation::SqueezeExcitation;
use crate::unit::{BasicUnit, Branch, DownsampleUnit};
use crate::weights::{StoredTensor, stored};
use messages::Attribute::{Float, Int, Ints};
use messages::Size::{Any, Of};
use protobuf::Message;

/// The reason why a network cannot be written as ONNX.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// An image size that the network does not accept.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Weights that cannot be read from the device.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// The sizes of images that an exported graph takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// One height and width. The shuffle is a reshape, a transpose and a reshape, which runtimes recognise.
    Fixed,
    /// Any height and width, axes of the input by these names. The shuffle gathers the channels in their
    /// new order, because a reshape would have to know the size of the map.
    Dynamic,
}

/// Converts `network` to an ONNX model with the input `images`, `[batch, input_channels, height, width]`,
/// and the output `logits`, `[batch, classes]`. `batch` is an axis of any size, and so are height and width
/// with [`Sizes::Dynamic`]. `properties` become the model's `metadata_props`.
///
/// # Errors
/// [`OnnxError::Model`] for an image size that the network does not accept, [`OnnxError::Weights`] for
/// weights that the device does not return.
pub fn to_onnx(
    network: &ShuffleNetV2,
    [height, width]: [usize; 2],
    sizes: Sizes,
    properties: &[(&str, String)],
) -> Result<Vec<u8>, OnnxError> {
    let config = network.config();
    config.validate(height, width)?;
    let network = network.valid();
    let files = names(config).into_iter();
    let mut graph = Graph {
        files: files.map(|name| (name.path, name.file)).collect(),
        weights: stored(&network)?,
        nodes: Vec::new(),
        tensors: Vec::new(),
        map: match sizes {
            Sizes::Fixed => Some([height, width]),
            Sizes::Dynamic => None,
        },
    };
    graph.network(&network);
    let [height, width] = match sizes {
        Sizes::Fixed => [Of(height), Of(width)],
        Sizes::Dynamic => [Any("height"), Any("width")],
    };
    let images = [Any("batch"), Of(config.input_channels()), height, width];
    let logits = [Any("batch"), Of(config.classes())];
    let ends = [
        messages::value(INPUT, &images),
        messages::value(OUTPUT, &logits),
    ];
    let graph = messages::graph("ShuffleNetV2", &graph.nodes, &graph.tensors, ends);
    Ok(messages::model(&graph, properties).into_bytes())
}

const INPUT: &str = "images";
const OUTPUT: &str = "logits";

/// The graph under construction. Each method adds the nodes of the module that it is named after and
/// returns the name of the output value, which is the path of that module.
struct Graph {
    /// Names of the tensors in weight files, by path.
    files: HashMap<String, String>,
    weights: BTreeMap<String, StoredTensor>,
    nodes: Vec<Message>,
    tensors: Vec<Message>,
    /// Height and width of the current map; `None` for any.
    map: Option<[usize; 2]>,
}

impl Graph {
    fn network(&mut self, network: &ShuffleNetV2) {
        let config = network.config();
        let mut x = self.conv_norm("stem", &network.stem, INPUT);
        if let Some(padding) = config.stem().pool_padding() {
            let attributes = [
                ("kernel_shape", Ints(&[3, 3])),
                ("strides", Ints(&[2, 2])),
                ("pads", Ints(&[padding; 4])),
            ];
            x = self.node("MaxPool", "pool", &[&x], &attributes);
        }
        let stem = config.stem();
        self.map = self.map.map(|map| map.map(|size| stem.output(size)));
        for (i, stage) in network.stages.iter().enumerate() {
            x = self.stage(&format!("stages.{i}"), stage, &x);
        }
        x = self.conv_norm("last", &network.last, &x);
        x = self.node("GlobalAveragePool", "average", &[&x], &[]);
        x = self.node("Flatten", "features", &[&x], &[]);
        let [weight, bias] = ["classifier.weight", "classifier.bias"].map(|path| self.weight(path));
        let operands: [&str; 3] = [&x, &weight, &bias];
        // The stored tensor has PyTorch's shape, which is the transpose.
        self.node("Gemm", OUTPUT, &operands, &[("transB", Int(1))]);
    }

    fn stage(&mut self, path: &str, stage: &Stage, x: &str) -> String {
        self.map = self.map.map(|map| map.map(halved));
        let mut x = self.downsample(&format!("{path}.downsample"), &stage.downsample, x);
        for (j, unit) in stage.units.iter().enumerate() {
            x = self.basic(&format!("{path}.units.{j}"), unit, &x);
        }
        x
    }

    fn downsample(&mut self, path: &str, unit: &DownsampleUnit, x: &str) -> String {
        let depthwise = &unit.left_depthwise;
        let left = self.conv_norm(&format!("{path}.left_depthwise"), depthwise, x);
        let pointwise = &unit.left_pointwise;
        let left = self.conv_norm(&format!("{path}.left_pointwise"), pointwise, &left);
        let right = self.branch(&format!("{path}.right"), &unit.right, x);
        let channels = outputs(&unit.left_pointwise) + outputs(&unit.right.pointwise2);
        let branches = match unit.right_first {
            true => [right, left],
            false => [left, right],
        };
        self.join(path, branches, channels)
    }

    fn basic(&mut self, path: &str, unit: &BasicUnit, x: &str) -> String {
        let [_, right_channels, ..] = unit.right.pointwise1.conv.weight.dims();
        let sizes = self.constant(
            &format!("{path}.sizes"),
            &[unit.left_channels, right_channels],
        );
        let [left, right] = ["left_part", "right_part"].map(|part| format!("{path}.{part}"));
        self.nodes.push(messages::node(
            "Split",
            &format!("{path}.split"),
            &[x, &sizes],
            &[&left, &right],
            &[("axis", Int(1))],
        ));
        let mut transformed = self.branch(&format!("{path}.right"), &unit.right, &right);
        if unit.residual {
            let sum = format!("{path}.sum");
            transformed = self.node("Add", &sum, &[&transformed, &right], &[]);
        }
        let channels = unit.left_channels + outputs(&unit.right.pointwise2);
        self.join(path, [left, transformed], channels)
    }

    fn branch(&mut self, path: &str, branch: &Branch, x: &str) -> String {
        let x = self.conv_norm(&format!("{path}.pointwise1"), &branch.pointwise1, x);
        let x = self.conv_norm(&format!("{path}.depthwise"), &branch.depthwise, &x);
        let x = self.conv_norm(&format!("{path}.pointwise2"), &branch.pointwise2, &x);
        match &branch.squeeze_excitation {
            Some(gate) => self.squeeze_excitation(&format!("{path}.squeeze_excitation"), gate, &x),
            None => x,
        }
    }

    fn squeeze_excitation(&mut self, path: &str, gate: &SqueezeExcitation, x: &str) -> String {
        let z = self.node("GlobalAveragePool", &format!("{path}.means"), &[x], &[]);
        let z = self.conv_norm(&format!("{path}.squeeze"), &gate.squeeze, &z);
        let z = self.conv(&format!("{path}.excite"), &gate.excite, &z);
        let slope = [("alpha", Float(1.0 / 6.0)), ("beta", Float(0.5))];
        let z = self.node("HardSigmoid", &format!("{path}.gate"), &[&z], &slope);
        self.node("Mul", path, &[x, &z], &[])
    }

    /// Concatenates two branches and shuffles their `channels` channels: a transpose of the channels as a
    /// matrix of 2 rows. For maps of any size the channels are gathered in the order that this gives.
    fn join(&mut self, path: &str, branches: [String; 2], channels: usize) -> String {
        let name = |what: &str| format!("{path}.{what}");
        let branches: [&str; 2] = [&branches[0], &branches[1]];
        let x = self.node("Concat", &name("concat"), &branches, &[("axis", Int(1))]);
        let Some([height, width]) = self.map else {
            let half = channels / 2;
            let order: Vec<usize> = (0..half).flat_map(|place| [place, half + place]).collect();
            let order = self.constant(&name("order"), &order);
            return self.node("Gather", path, &[&x, &order], &[("axis", Int(1))]);
        };
        // A size of 0 copies the input's size, here the batch.
        let groups = [0, 2, channels / 2, height, width];
        let groups = self.constant(&name("groups"), &groups);
        let x = self.node("Reshape", &name("grouped"), &[&x, &groups], &[]);
        let order = [("perm", Ints(&[0, 2, 1, 3, 4]))];
        let x = self.node("Transpose", &name("shuffled"), &[&x], &order);
        let whole = self.constant(&name("whole"), &[0, channels, height, width]);
        self.node("Reshape", path, &[&x, &whole], &[])
    }

    fn conv_norm(&mut self, path: &str, module: &ConvNorm, x: &str) -> String {
        let x = self.conv(&format!("{path}.conv"), &module.conv, x);
        let norm = ["gamma", "beta", "running_mean", "running_var"];
        let [gamma, beta, mean, variance] =
            norm.map(|leaf| self.weight(&format!("{path}.norm.{leaf}")));
        let operands: [&str; 5] = [&x, &gamma, &beta, &mean, &variance];
        let epsilon = [("epsilon", Float(EPSILON))];
        let name = format!("{path}.norm");
        let x = self.node("BatchNormalization", &name, &operands, &epsilon);
        match module.relu {
            true => self.node("Relu", &format!("{path}.relu"), &[&x], &[]),
            false => x,
        }
    }

    fn conv(&mut self, path: &str, conv: &Conv2d, x: &str) -> String {
        let weight = self.weight(&format!("{path}.weight"));
        // Every convolution of the network keeps the map's size at stride 1.
        let padding = conv.kernel_size[0] / 2;
        let attributes = [
            ("kernel_shape", Ints(&conv.kernel_size)),
            ("strides", Ints(&conv.stride)),
            ("pads", Ints(&[padding; 4])),
            ("group", Int(conv.groups)),
        ];
        self.node("Conv", path, &[x, &weight], &attributes)
    }

    /// Adds the weight at `path` under its name in weight files.
    fn weight(&mut self, path: &str) -> String {
        let file = self
            .files
            .get(path)
            .map_or(path, String::as_str)
            .to_string();
        if let Some(StoredTensor { shape, values }) = self.weights.remove(&file) {
            self.tensors.push(messages::floats(&file, &shape, &values));
        }
        file
    }

    fn constant(&mut self, name: &str, values: &[usize]) -> String {
        self.tensors.push(messages::integers(name, values));
        name.into()
    }

    fn node(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attributes: &[(&str, messages::Attribute)],
    ) -> String {
        let node = messages::node(operator, name, inputs, &[name], attributes);
        self.nodes.push(node);
        name.into()
    }
}

/// Number of output channels of a convolution.
fn outputs(module: &ConvNorm) -> usize {
    let [outputs, ..] = module.conv.weight.dims();
    outputs
}
