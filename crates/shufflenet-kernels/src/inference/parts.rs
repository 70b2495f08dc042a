//! The structure of a network, with something in the place of each layer.
//!
//! A [`Chain`](super::Chain) is built from the layers' weights. In other uses a layer is a module, or the names of its
//! tensors in a weight file; [`Parts::map`] leads from one to the other.

use serde::{Deserialize, Serialize};

/// Parts of a network with layers `L`, in the order in which data goes through them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts<L> {
    /// Channels of an image.
    pub input_channels: usize,
    /// Dense 3x3 convolution padded by 1, and ReLU.
    pub stem: L,
    /// Stride of the stem's convolution.
    pub stem_stride: usize,
    /// Padding of the 3x3 max pooling of stride 2 after the stem; `None` if there is no pooling.
    pub pool: Option<usize>,
    /// Stages, each of which halves the map.
    pub stages: Vec<StageParts<L>>,
    /// The last 1x1 convolution and ReLU, averaged over the map.
    pub head: L,
    /// The linear classifier on the averages.
    pub classifier: L,
}

/// Parts of a stage: a stride-2 unit, figure 3 (d) of the paper, and the stride-1 units after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageParts<L> {
    /// Layers of the right branch: 1x1, depthwise 3x3 of stride 2, 1x1.
    pub right: [L; 3],
    /// Layers of the left branch: depthwise 3x3 of stride 2, 1x1.
    pub left: [L; 2],
    /// Whether the right branch comes first in the concatenation.
    pub right_first: bool,
    /// The stride-1 units.
    pub units: Vec<BasicParts<L>>,
}

/// Parts of a stride-1 unit, figure 3 (c) of the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicParts<L> {
    /// Number of channels passed on.
    pub left_channels: usize,
    /// Whether the right branch's input is added to its output.
    pub residual: bool,
    /// Layers of the right branch: 1x1, depthwise 3x3, 1x1.
    pub right: [L; 3],
}

impl<L> Parts<L> {
    /// The same structure with `f` of each layer in the layer's place.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn map<M, E>(&self, mut f: impl FnMut(&L) -> Result<M, E>) -> Result<Parts<M>, E> {
        let mut stages = Vec::new();
        for stage in &self.stages {
            let [left0, left1] = &stage.left;
            let (left, right) = ([f(left0)?, f(left1)?], three(&stage.right, &mut f)?);
            let mut units = Vec::new();
            for unit in &stage.units {
                units.push(BasicParts {
                    left_channels: unit.left_channels,
                    residual: unit.residual,
                    right: three(&unit.right, &mut f)?,
                });
            }
            stages.push(StageParts {
                right,
                left,
                right_first: stage.right_first,
                units,
            });
        }
        Ok(Parts {
            input_channels: self.input_channels,
            stem: f(&self.stem)?,
            stem_stride: self.stem_stride,
            pool: self.pool,
            stages,
            head: f(&self.head)?,
            classifier: f(&self.classifier)?,
        })
    }
}

fn three<L, M, E>([a, b, c]: &[L; 3], f: &mut impl FnMut(&L) -> Result<M, E>) -> Result<[M; 3], E> {
    Ok([f(a)?, f(b)?, f(c)?])
}

/// The names of a layer's tensors in the weight file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum LayerNames {
    /// A convolution without bias and the batch norm after it.
    Conv {
        /// Name of the convolution's weight.
        weight: String,
        /// Names of the norm's scale, shift, running mean and running variance.
        norm: [String; 4],
    },
    /// A linear layer.
    Linear {
        /// Name of the weight.
        weight: String,
        /// Name of the bias.
        bias: String,
    },
}
