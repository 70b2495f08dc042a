//! The two units that the stages repeat: figure 3 (c) and (d) of the paper.
//!
//! ```text
//!        BasicUnit                            DownsampleUnit
//!
//!      channel split                     +-------- x --------+
//!     left         right                 |                   |
//!      |        1x1, norm, ReLU          |           1x1, norm, ReLU
//!      |        3x3 depthwise, norm   3x3 depthwise  3x3 depthwise of stride 2, norm
//!      |        1x1, norm, ReLU       of stride 2,   1x1, norm, ReLU
//!      |       (squeeze-excitation)   norm, 1x1,    (squeeze-excitation)
//!      |       (+ right, if residual) norm, ReLU             |
//!      |           |                     |                   |
//!      +- concat --+                     +----- concat ------+
//!           |                                     |
//!     channel shuffle                      channel shuffle
//! ```
//!
//! The basic unit passes part of its channels on unchanged, and the shuffle hands them to the next unit's
//! right branch. The downsampling unit processes all its channels in both branches, so it can halve the map
//! and double the channels. The layouts differ only in the width of a branch, in which branch comes first
//! in the concatenation, and in whether the right branch's input is added to its output. The steps in
//! parentheses are switches, drawn where the paper's appendix has them.
//!
//! Each unit is written here in plain Burn operations (`plain`), which define its result. Where
//! [`shufflenet_ops`] has a kernel for the whole unit, `forward` uses that kernel. It computes the same
//! function several times as fast; tests compare it with the plain unit. A plain unit between bfloat16 activations
//! computes in float32.

use burn::module::Module;
use burn::tensor::Tensor;
use shufflenet_ops::channel_shuffle;
use shufflenet_ops::fused::{self, BranchWeights};

use crate::batch_norm::{BatchNorm, CONFIG};
use crate::conv_norm::{ConvNorm, in_float32, kernels_serve_map, update_running_statistics};
use crate::initialise::Initialiser;
use crate::plan::{StagePlan, UnitPlan};
use crate::squeeze_excitation::SqueezeExcitation;

/// Groups of every channel shuffle: the two branches.
const BRANCHES: usize = 2;

/// The right branch of both units: 1x1, depthwise 3x3, 1x1, and squeeze-and-excitation if configured.
#[derive(Module, Debug)]
pub struct Branch {
    /// 1x1 convolution to the branch's width.
    pub pointwise1: ConvNorm,
    /// 3x3 depthwise convolution, the only spatial one; has the unit's stride.
    pub depthwise: ConvNorm,
    /// 1x1 convolution that mixes the channels after the depthwise convolution.
    pub pointwise2: ConvNorm,
    /// Optional gate on the branch's channels.
    pub squeeze_excitation: Option<SqueezeExcitation>,
}

impl Branch {
    fn new(
        [inputs, outputs]: [usize; 2],
        stride: usize,
        squeeze: bool,
        init: &mut Initialiser,
    ) -> Self {
        Self {
            pointwise1: ConvNorm::pointwise([inputs, outputs], init),
            depthwise: ConvNorm::depthwise(outputs, stride, init),
            pointwise2: ConvNorm::pointwise([outputs, outputs], init),
            squeeze_excitation: squeeze.then(|| SqueezeExcitation::new(outputs, init)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.pointwise1.forward(x);
        let x = self.depthwise.forward(x);
        let x = self.pointwise2.forward(x);
        match &self.squeeze_excitation {
            Some(squeeze_excitation) => squeeze_excitation.forward(x),
            None => x,
        }
    }

    pub(crate) fn norms(&mut self) -> impl Iterator<Item = &mut BatchNorm> {
        let convolutions = [
            &mut self.pointwise1,
            &mut self.depthwise,
            &mut self.pointwise2,
        ];
        let squeezing = self.squeeze_excitation.as_mut();
        let squeezing = squeezing.map(|squeezing| &mut squeezing.squeeze);
        let all = convolutions.into_iter().chain(squeezing);
        all.map(|convolution| &mut convolution.norm)
    }

    fn convolutions(&self) -> [&ConvNorm; 3] {
        [&self.pointwise1, &self.depthwise, &self.pointwise2]
    }

    fn weights(&self, x: &Tensor<4>) -> BranchWeights {
        BranchWeights {
            pointwise1: self.pointwise1.weights(x),
            depthwise: self.depthwise.weights(x),
            pointwise2: self.pointwise2.weights(x),
        }
    }
}

/// The stride-1 unit, figure 3 (c): splits the channels and transforms the right part.
#[derive(Module, Debug)]
pub struct BasicUnit {
    /// The branch that transforms the right part.
    pub right: Branch,
    /// Channels of the left part, which pass on unchanged.
    #[module(skip)]
    pub left_channels: usize,
    /// Whether the right part is added to the right branch's output, after the last ReLU.
    #[module(skip)]
    pub residual: bool,
}

impl BasicUnit {
    pub(crate) fn new(plan: &UnitPlan, squeeze: bool, init: &mut Initialiser) -> Self {
        let right = [plan.inputs - plan.left, plan.outputs - plan.left];
        Self {
            right: Branch::new(right, 1, squeeze, init),
            left_channels: plan.left,
            residual: plan.residual,
        }
    }

    /// Passes the left channels on, transforms the right channels and shuffles both.
    ///
    /// # Shapes
    /// - `x`: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let convolutions = || self.right.convolutions().into_iter();
        // No kernel has squeeze-and-excitation.
        if self.right.squeeze_excitation.is_some() || !kernels_serve_map(convolutions(), &x) {
            return in_float32(x, |x| self.plain(x));
        }
        let (left, residual) = (self.left_channels, self.residual);
        let right = self.right.weights(&x);
        let unit = fused::basic_unit(x, right, left, residual, CONFIG);
        update_running_statistics(unit, convolutions())
    }

    /// The unit in plain Burn operations.
    fn plain(&self, x: Tensor<4>) -> Tensor<4> {
        let right_channels = x.dims()[1] - self.left_channels;
        let left = x.clone().narrow(1, 0, self.left_channels);
        let right = x.narrow(1, self.left_channels, right_channels);
        let mut transformed = self.right.forward(right.clone());
        if self.residual {
            transformed = transformed + right;
        }
        channel_shuffle(Tensor::cat(vec![left, transformed], 1), BRANCHES)
    }
}

/// The stride-2 unit, figure 3 (d): both branches see all channels and halve the map.
#[derive(Module, Debug)]
pub struct DownsampleUnit {
    /// The right branch: 1x1, depthwise 3x3 of stride 2, 1x1.
    pub right: Branch,
    /// The left branch's depthwise 3x3 of stride 2.
    pub left_depthwise: ConvNorm,
    /// The left branch's 1x1 convolution.
    pub left_pointwise: ConvNorm,
    /// Whether the right branch comes first in the concatenation.
    #[module(skip)]
    pub right_first: bool,
}

impl DownsampleUnit {
    pub(crate) fn new(
        plan: &StagePlan,
        right_first: bool,
        squeeze: bool,
        init: &mut Initialiser,
    ) -> Self {
        let (inputs, branch) = (plan.inputs, plan.branch);
        Self {
            right: Branch::new([inputs, branch], 2, squeeze, init),
            left_depthwise: ConvNorm::depthwise(inputs, 2, init),
            left_pointwise: ConvNorm::pointwise([inputs, branch], init),
            right_first,
        }
    }

    /// Runs both branches on all channels and shuffles their outputs.
    ///
    /// # Shapes
    /// - `x`: `[batch, inputs, height, width]`
    /// - output: `[batch, 2 * branch, ceil(height / 2), ceil(width / 2)]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let left = [&self.left_depthwise, &self.left_pointwise];
        let convolutions = || self.right.convolutions().into_iter().chain(left);
        // No kernel has squeeze-and-excitation.
        if self.right.squeeze_excitation.is_some() || !kernels_serve_map(convolutions(), &x) {
            return in_float32(x, |x| self.plain(x));
        }
        let (right, left) = (self.right.weights(&x), left.map(|conv| conv.weights(&x)));
        let unit = fused::downsample_unit(x, right, left, self.right_first, CONFIG);
        update_running_statistics(unit, convolutions())
    }

    /// The unit in plain Burn operations.
    fn plain(&self, x: Tensor<4>) -> Tensor<4> {
        let left = self.left_depthwise.forward(x.clone());
        let left = self.left_pointwise.forward(left);
        let right = self.right.forward(x);
        let branches = if self.right_first {
            vec![right, left]
        } else {
            vec![left, right]
        };
        channel_shuffle(Tensor::cat(branches, 1), BRANCHES)
    }
}

#[cfg(test)]
mod tests;
