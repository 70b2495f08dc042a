//! A table of a network's layers and their cost.
//!
//! The layers of the built network run one after the other on an image of zeros. Each row has the output
//! shape of a layer, its parameters and its multiply-adds. As in the paper's tables, multiply-adds are
//! those of the convolutions (each weight is used once per position of the output map) and of the
//! classifier. Norms, activations, pooling and shuffles are not counted.

use std::fmt;

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use serde::Serialize;

use crate::conv_norm::ConvNorm;
use crate::error::ModelError;
use crate::network::{ShuffleNetV2, global_average};
use crate::unit::{BasicUnit, Branch, DownsampleUnit};

/// The layers of a network, and the totals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Description of the network.
    pub network: String,
    /// Channels, height and width of the image.
    pub input: [usize; 3],
    /// Trainable parameters.
    pub parameters: usize,
    /// Multiply-adds for one image.
    pub multiply_adds: usize,
    /// The layers, from the stem to the classifier.
    pub layers: Vec<Layer>,
}

/// A row of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Path of the layer in the module tree.
    pub name: String,
    /// Description of the layer's operations.
    pub kind: String,
    /// Output shape for one image, without the batch.
    pub output: Vec<usize>,
    /// Trainable parameters of the layer.
    pub parameters: usize,
    /// Multiply-adds of the layer for one image.
    pub multiply_adds: usize,
}

impl Summary {
    /// Runs `network` on one image of `height` by `width` in inference mode, which leaves the network
    /// unchanged.
    ///
    /// # Errors
    /// [`ModelError::InputSize`] when the image is too small for the stem.
    pub fn of(network: &ShuffleNetV2, height: usize, width: usize) -> Result<Self, ModelError> {
        let config = network.config();
        config.validate(height, width)?;
        let network = network.valid();
        let input = [config.input_channels(), height, width];
        let device = network.stem.conv.weight.device();
        let mut trace = Trace { layers: Vec::new() };
        trace.network(
            &network,
            Tensor::zeros([1, input[0], height, width], &device),
        );
        let total = |of: fn(&Layer) -> usize| trace.layers.iter().map(of).sum();
        Ok(Self {
            network: config.with_stem(),
            input,
            parameters: total(|layer| layer.parameters),
            multiply_adds: total(|layer| layer.multiply_adds),
            layers: trace.layers,
        })
    }
}

/// The rows so far. Each method runs the module that it is named after and adds its rows.
struct Trace {
    layers: Vec<Layer>,
}

impl Trace {
    fn network(&mut self, network: &ShuffleNetV2, images: Tensor<4>) {
        let mut x = self.conv_norm("stem", &network.stem, images);
        if let Some(pool) = &network.pool {
            x = pool.forward(x);
            self.free("pool", "3x3 max pool /2", &x);
        }
        for (i, stage) in network.stages.iter().enumerate() {
            x = self.downsample(&format!("stages.{i}.downsample"), &stage.downsample, x);
            for (j, unit) in stage.units.iter().enumerate() {
                x = self.basic(&format!("stages.{i}.units.{j}"), unit, x);
            }
        }
        let x = self.conv_norm("last", &network.last, x);
        let features = global_average(x);
        self.free("features", "global average", &features);
        let classifier = &network.classifier;
        let weights = classifier.weight.shape().num_elements();
        let biases = classifier
            .bias
            .as_ref()
            .map_or(0, |bias| bias.shape().num_elements());
        let logits = classifier.forward(features);
        self.add("classifier", "linear", &logits, [weights + biases, weights]);
    }

    fn downsample(&mut self, name: &str, unit: &DownsampleUnit, x: Tensor<4>) -> Tensor<4> {
        let left = self.conv_norm(
            &format!("{name}.left_depthwise"),
            &unit.left_depthwise,
            x.clone(),
        );
        self.conv_norm(
            &format!("{name}.left_pointwise"),
            &unit.left_pointwise,
            left,
        );
        self.branch(name, &unit.right, x.clone());
        let y = unit.forward(x);
        self.free(name, "concat, shuffle", &y);
        y
    }

    fn basic(&mut self, name: &str, unit: &BasicUnit, x: Tensor<4>) -> Tensor<4> {
        let right = x.dims()[1] - unit.left_channels;
        let right = x.clone().narrow(1, unit.left_channels, right);
        self.branch(name, &unit.right, right);
        let y = unit.forward(x);
        let kind = match unit.residual {
            true => "add, concat, shuffle",
            false => "concat, shuffle",
        };
        self.free(name, kind, &y);
        y
    }

    fn branch(&mut self, unit: &str, branch: &Branch, x: Tensor<4>) {
        let name = |field: &str| format!("{unit}.right.{field}");
        let x = self.conv_norm(&name("pointwise1"), &branch.pointwise1, x);
        let x = self.conv_norm(&name("depthwise"), &branch.depthwise, x);
        let x = self.conv_norm(&name("pointwise2"), &branch.pointwise2, x);
        if let Some(layer) = &branch.squeeze_excitation {
            let name = |field: &str| name(&format!("squeeze_excitation{field}"));
            let means = x.clone().mean_dim(3).mean_dim(2);
            let squeezed = self.conv_norm(&name(".squeeze"), &layer.squeeze, means);
            let gate = layer.excite.forward(squeezed);
            self.add(
                &name(".excite"),
                "1x1 conv",
                &gate,
                cost(&layer.excite, &gate),
            );
            self.free(&name(""), "scale", &layer.forward(x));
        }
    }

    fn conv_norm(&mut self, name: &str, layer: &ConvNorm, x: Tensor<4>) -> Tensor<4> {
        let y = layer.forward(x);
        let conv = &layer.conv;
        let [parameters, multiply_adds] = cost(conv, &y);
        let [height, width] = conv.kernel_size;
        let groups = if conv.groups > 1 { "depthwise" } else { "conv" };
        let stride = if conv.stride == [2, 2] { " /2" } else { "" };
        let relu = if layer.relu { ", relu" } else { "" };
        let kind = format!("{height}x{width} {groups}{stride}, norm{relu}");
        let norm = layer.norm.gamma.shape().num_elements() + layer.norm.beta.shape().num_elements();
        self.add(name, &kind, &y, [parameters + norm, multiply_adds]);
        y
    }

    /// Adds a row without parameters and multiply-adds.
    fn free<const D: usize>(&mut self, name: &str, kind: &str, output: &Tensor<D>) {
        self.add(name, kind, output, [0, 0]);
    }

    fn add<const D: usize>(
        &mut self,
        name: &str,
        kind: &str,
        output: &Tensor<D>,
        [parameters, multiply_adds]: [usize; 2],
    ) {
        self.layers.push(Layer {
            name: name.into(),
            kind: kind.into(),
            output: output.dims().into_iter().skip(1).collect(),
            parameters,
            multiply_adds,
        });
    }
}

/// Parameters and multiply-adds of a convolution whose output for one image is `output`.
fn cost(conv: &Conv2d, output: &Tensor<4>) -> [usize; 2] {
    let weights = conv.weight.shape().num_elements();
    let [_, _, height, width] = output.dims();
    [weights, weights * height * width]
}

/// The table in text form, for a terminal.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["layer", "kind", "output", "parameters", "multiply-adds"].map(String::from);
        let rows = self.layers.iter().map(|layer| {
            let Layer { name, kind, .. } = layer;
            let (parameters, multiply_adds) = (layer.parameters, layer.multiply_adds);
            let [parameters, multiply_adds] = [parameters, multiply_adds].map(|n| n.to_string());
            [
                name.clone(),
                kind.clone(),
                by(&layer.output),
                parameters,
                multiply_adds,
            ]
        });
        let rows: Vec<[String; 5]> = std::iter::once(heading).chain(rows).collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(String::len).max().unwrap_or(0)
        };
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
        writeln!(f, "{}, images of {}", self.network, by(&self.input))?;
        for [name, kind, output, parameters, multiply_adds] in &rows {
            writeln!(
                f,
                "{name:a$}  {kind:b$}  {output:c$}  {parameters:>d$}  {multiply_adds:>e$}"
            )?;
        }
        write!(
            f,
            "total  {} parameters, {:.2} M multiply-adds",
            self.parameters,
            self.multiply_adds as f64 / 1e6
        )
    }
}

/// The shape in words, for example `3x32x32`.
fn by(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    sizes.join("x")
}
