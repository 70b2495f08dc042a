//! The norms of an operation's convolutions: of the batch in training, of running statistics in inference.

use cubecl::prelude::*;

use crate::arena::Arena;
use crate::buffer::Buffer;
use crate::conv_norm::{ConvNorm, NormConfig, Running};
use crate::moments::Moments;

/// In training each norm is made of the batch's moments, one after the other, and the running statistics follow.
pub(crate) struct Norms<'a> {
    /// Statistics before the batch.
    before: &'a [Running],
    /// Statistics after the batch, so far.
    after: Vec<Running>,
    config: NormConfig,
    /// Memory for the statistics.
    arena: Arena,
}

impl<'a> Norms<'a> {
    /// `running` has the statistics before the batch, in the order of `convolutions`.
    pub fn new<'b>(
        client: &Client,
        convolutions: impl IntoIterator<Item = &'b ConvNorm>,
        running: &'a [Running],
        config: NormConfig,
    ) -> Self {
        Self {
            before: running,
            after: Vec::new(),
            config,
            arena: ConvNorm::statistics(client, convolutions),
        }
    }

    /// The norm of the next convolution, whose outputs have these moments.
    pub fn next(&mut self, moments: &Moments, conv: &ConvNorm) -> Buffer {
        let before = &self.before[self.after.len()];
        let (norm, after) = moments.finish(conv, before, self.config, &self.arena);
        self.after.push(after);
        norm
    }

    /// The running statistics after the batch.
    pub fn moved(self) -> Vec<Running> {
        self.after
    }
}

/// Statistics and parameters of a batch norm in inference, one value for each channel.
pub struct FrozenNorm<'a> {
    /// The running mean.
    pub mean: &'a [f32],
    /// The running variance.
    pub variance: &'a [f32],
    /// Scale.
    pub gamma: &'a [f32],
    /// Shift.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f64,
}

impl FrozenNorm<'_> {
    /// The norm as kernels read it: mean, scale, beta, 1 / deviation, of all channels each (module [`crate::norm`]).
    pub fn rows(&self) -> Vec<f32> {
        let rstd = self.variance.iter();
        let rstd = rstd.map(|v| (1.0 / (f64::from(*v) + self.epsilon).sqrt()) as f32);
        let rstd: Vec<f32> = rstd.collect();
        let scale = self
            .gamma
            .iter()
            .zip(&rstd)
            .map(|(gamma, rstd)| gamma * rstd);
        let scale: Vec<f32> = scale.collect();
        [self.mean, &scale, self.beta, &rstd].concat()
    }
}
