//! A table of a network's layers and their cost.
//!
//! Each row has the output shape of a layer, its parameters and its multiply-adds, by the sizes of the built network's
//! weights. As in the paper's tables, multiply-adds are those of the convolutions (each weight is used once per position
//! of the output map) and of the classifier. Norms, activations, pooling and shuffles are not counted.

use std::fmt;

use burn::nn::conv::Conv2d;
use serde::Serialize;

use crate::config::Stem;
use crate::conv_norm::ConvNorm;
use crate::error::ModelError;
use crate::network::ShuffleNetV2;
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
    /// The layers of `network` for one image of `height` by `width`. Nothing is computed but sizes.
    ///
    /// # Errors
    /// [`ModelError::InputSize`] when the image is too small for the stem.
    pub fn of(network: &ShuffleNetV2, height: usize, width: usize) -> Result<Self, ModelError> {
        let config = network.config();
        config.validate(height, width)?;
        let input = [config.input_channels(), height, width];
        let mut table = Table { layers: Vec::new() };
        table.network(network, config.stem(), input);
        let total = |of: fn(&Layer) -> usize| {
            let layers = table.layers.iter().map(of);
            layers.fold(0, usize::saturating_add)
        };
        Ok(Self {
            network: config.with_stem(),
            input,
            parameters: total(|layer| layer.parameters),
            multiply_adds: total(|layer| layer.multiply_adds),
            layers: table.layers,
        })
    }
}

/// Channels, height and width of a layer's output for one image.
type Map = [usize; 3];

/// The rows so far. Each method adds the rows of the module that it is named after, whose input is `x`, and returns its
/// output.
struct Table {
    layers: Vec<Layer>,
}

impl Table {
    fn network(&mut self, network: &ShuffleNetV2, stem: Stem, images: Map) {
        let mut x = self.conv_norm("stem", &network.stem, images);
        if network.pool.is_some() {
            let [_, height, width] = images;
            let [height, width] = [height, width].map(|size| stem.output(size));
            x = self.free("pool", "3x3 max pool /2", [x[0], height, width]);
        }
        for (i, stage) in network.stages.iter().enumerate() {
            x = self.downsample(&format!("stages.{i}.downsample"), &stage.downsample, x);
            for (j, unit) in stage.units.iter().enumerate() {
                x = self.basic(&format!("stages.{i}.units.{j}"), unit, x);
            }
        }
        let [features, ..] = self.conv_norm("last", &network.last, x);
        self.add("features", "global average", &[features], [0, 0]);
        let classifier = &network.classifier;
        let [inputs, classes] = classifier.weight.dims();
        let (weights, biases) = (inputs * classes, classifier.bias.as_ref());
        let biases = biases.map_or(0, |bias| bias.shape().num_elements());
        self.add(
            "classifier",
            "linear",
            &[classes],
            [weights + biases, weights],
        );
    }

    fn downsample(&mut self, name: &str, unit: &DownsampleUnit, x: Map) -> Map {
        let left = self.conv_norm(&format!("{name}.left_depthwise"), &unit.left_depthwise, x);
        let [left, ..] = self.conv_norm(
            &format!("{name}.left_pointwise"),
            &unit.left_pointwise,
            left,
        );
        let [right, height, width] = self.branch(name, &unit.right, x);
        self.free(name, "concat, shuffle", [left + right, height, width])
    }

    fn basic(&mut self, name: &str, unit: &BasicUnit, x: Map) -> Map {
        let [right, height, width] = self.branch(name, &unit.right, x);
        let kind = match unit.residual {
            true => "add, concat, shuffle",
            false => "concat, shuffle",
        };
        self.free(name, kind, [unit.left_channels + right, height, width])
    }

    fn branch(&mut self, unit: &str, branch: &Branch, x: Map) -> Map {
        let name = |field: &str| format!("{unit}.right.{field}");
        let x = self.conv_norm(&name("pointwise1"), &branch.pointwise1, x);
        let x = self.conv_norm(&name("depthwise"), &branch.depthwise, x);
        let x = self.conv_norm(&name("pointwise2"), &branch.pointwise2, x);
        if let Some(layer) = &branch.squeeze_excitation {
            let name = |field: &str| name(&format!("squeeze_excitation{field}"));
            let squeezed = self.conv_norm(&name(".squeeze"), &layer.squeeze, [x[0], 1, 1]);
            let gate = output(&layer.excite, squeezed);
            self.add(
                &name(".excite"),
                "1x1 conv",
                &gate,
                cost(&layer.excite, gate),
            );
            self.free(&name(""), "scale", x);
        }
        x
    }

    fn conv_norm(&mut self, name: &str, layer: &ConvNorm, x: Map) -> Map {
        let conv = &layer.conv;
        let y = output(conv, x);
        let [parameters, multiply_adds] = cost(conv, y);
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
    fn free(&mut self, name: &str, kind: &str, output: Map) -> Map {
        self.add(name, kind, &output, [0, 0]);
        output
    }

    fn add(
        &mut self,
        name: &str,
        kind: &str,
        output: &[usize],
        [parameters, multiply_adds]: [usize; 2],
    ) {
        self.layers.push(Layer {
            name: name.into(),
            kind: kind.into(),
            output: output.into(),
            parameters,
            multiply_adds,
        });
    }
}

/// The output of a convolution whose padding keeps the map's size at stride 1, as that of all convolutions here does.
fn output(conv: &Conv2d, [_, height, width]: Map) -> Map {
    let [channels, ..] = conv.weight.dims();
    let [vertical, horizontal] = conv.stride;
    [
        channels,
        height.div_ceil(vertical),
        width.div_ceil(horizontal),
    ]
}

/// Parameters and multiply-adds of a convolution.
fn cost(conv: &Conv2d, [_, height, width]: Map) -> [usize; 2] {
    let weights = conv.weight.shape().num_elements();
    [
        weights,
        weights.saturating_mul(height).saturating_mul(width),
    ]
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
