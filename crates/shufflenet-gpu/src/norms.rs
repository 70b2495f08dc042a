//! Where the norms behind convolutions come from: the batch, or running statistics.

use cubecl::prelude::*;

use crate::arena::Arena;
use crate::buffer::Buffer;
use crate::conv_norm::{ConvNorm, NormConfig, Running};
use crate::moments::Moments;

/// The norms of the convolutions of an operation, one after the other.
#[expect(clippy::large_enum_variant, reason = "an operation has one")]
pub(crate) enum Norms<'a> {
    /// In training each is made of the batch's moments, and the running statistics follow.
    OfBatch {
        /// Before the batch.
        running: &'a [Running],
        /// After it, so far.
        moved: Vec<Running>,
        config: NormConfig,
        /// Memory for the statistics.
        arena: Arena,
    },
    /// In inference each was made of running statistics, [`frozen`].
    Frozen(&'a [Buffer], usize),
}

impl<'a> Norms<'a> {
    /// The norms of a batch. `running` has the statistics before it, in the order of `convolutions`.
    pub fn of_batch<'b>(
        client: &Client,
        convolutions: impl IntoIterator<Item = &'b ConvNorm>,
        running: &'a [Running],
        config: NormConfig,
    ) -> Self {
        Self::OfBatch {
            running,
            moved: Vec::new(),
            config,
            arena: ConvNorm::statistics(client, convolutions),
        }
    }

    /// Norms that were [made](frozen) before.
    pub fn frozen(norms: &'a [Buffer]) -> Self {
        Self::Frozen(norms, 0)
    }

    /// The norm of the next convolution, whose outputs have these moments.
    pub fn next(&mut self, moments: &Moments, conv: &ConvNorm) -> Buffer {
        match self {
            Self::OfBatch {
                running,
                moved,
                config,
                arena,
            } => {
                let before = &running[moved.len()];
                let (norm, after) = moments.finish(conv, before, *config, arena);
                moved.push(after);
                norm
            }
            Self::Frozen(norms, next) => {
                *next += 1;
                norms[*next - 1].clone()
            }
        }
    }

    /// The running statistics after the batch. None of frozen norms.
    pub fn moved(self) -> Vec<Running> {
        match self {
            Self::OfBatch { moved, .. } => moved,
            Self::Frozen(..) => Vec::new(),
        }
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
