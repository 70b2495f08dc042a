//! A convolution's parameters with those of the batch norm behind it, as the stem and the head take them.

use crate::buffer::Buffer;
use crate::moments::Moments;

/// A convolution without bias and the batch norm behind it.
pub struct ConvNorm<'a> {
    /// `[outputs, inputs]` in the head, `[outputs, channels, 3, 3]` in the stem.
    pub weight: &'a Buffer,
    /// `[outputs]`
    pub gamma: &'a Buffer,
    /// `[outputs]`
    pub beta: &'a Buffer,
    /// What is added to the variance.
    pub epsilon: f64,
    /// Where the batch's mean and unbiased variance are written, from value number `first` on.
    pub statistics: &'a Buffer,
    /// The first value of `statistics` that is written.
    pub first: usize,
}

impl ConvNorm<'_> {
    /// Channels of the output.
    pub(crate) fn outputs(&self) -> usize {
        self.gamma.len
    }

    /// The norm of the batch whose `moments` the convolution gathered.
    pub(crate) fn norm(&self, moments: &Moments) -> Buffer {
        moments.finish(
            self.gamma,
            self.beta,
            self.epsilon,
            self.statistics,
            self.first,
        )
    }
}

/// The gradients of a [`ConvNorm`]'s parameters, each in its parameter's shape.
pub struct ConvNormGradient {
    /// The gradient of the weight.
    pub weight: Buffer,
    /// The gradient of gamma.
    pub gamma: Buffer,
    /// The gradient of beta.
    pub beta: Buffer,
}
