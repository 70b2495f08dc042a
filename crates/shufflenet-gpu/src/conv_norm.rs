//! A convolution without bias and its batch norm, as kernels take them and as the backward needs them.

use cubecl::prelude::Client;

use crate::arena::Arena;
use crate::buffer::Buffer;

/// The parameters.
#[derive(Clone)]
pub struct ConvNorm {
    /// `[outputs, inputs / groups, kernel, kernel]`
    pub weight: Buffer,
    /// Scale of the norm, `[outputs]`.
    pub gamma: Buffer,
    /// Shift of the norm, `[outputs]`.
    pub beta: Buffer,
}

impl ConvNorm {
    /// Channels of the output.
    pub fn outputs(&self) -> usize {
        self.gamma.len
    }

    /// Room for the gradients of the parameters of `convolutions`.
    pub(crate) fn gradients<'a>(
        client: &Client,
        convolutions: impl IntoIterator<Item = &'a Self>,
    ) -> Arena {
        let lens = |conv: &Self| [conv.weight.len, conv.gamma.len, conv.beta.len];
        Arena::new(client, convolutions.into_iter().flat_map(lens))
    }

    /// Room for the running statistics of the norms of `convolutions`.
    pub(crate) fn statistics<'a>(
        client: &Client,
        convolutions: impl IntoIterator<Item = &'a Self>,
    ) -> Arena {
        let lens = |conv: &Self| [conv.outputs(); 2];
        Arena::new(client, convolutions.into_iter().flat_map(lens))
    }
}

/// Statistics that a batch norm normalises by in inference.
#[derive(Clone)]
pub struct Running {
    /// Mean of each channel, `[outputs]`.
    pub mean: Buffer,
    /// Unbiased variance of each channel, `[outputs]`.
    pub variance: Buffer,
}

/// The two constants of a batch norm.
#[derive(Clone, Copy, Debug)]
pub struct NormConfig {
    /// Added to the variance under the square root.
    pub epsilon: f64,
    /// Weight of the batch in the running statistics.
    pub momentum: f64,
}

/// A convolution's output and its norm, which the backward needs.
pub struct Normed {
    /// `[pixels, outputs]`
    pub y: Buffer,
    /// Mean, scale, beta and 1 / deviation of each channel (module `norm`).
    pub norm: Buffer,
}

/// Gradients of a convolution's parameters, shaped as these are.
pub struct ConvNormGradient {
    /// Of the weight.
    pub weight: Buffer,
    /// Of gamma.
    pub gamma: Buffer,
    /// Of beta.
    pub beta: Buffer,
}
