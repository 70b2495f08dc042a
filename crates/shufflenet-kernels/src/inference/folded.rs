//! Folding of a batch norm's factor and term into the weights before it.

/// A convolution or linear layer with the linear operations after it folded in.
pub struct Folded {
    /// Weight: `[outputs][inputs]` of a 1x1 or linear layer, `[channels][9]` of a depthwise one,
    /// `[outputs][inputs][9]` of a dense 3x3 one.
    pub weight: Vec<f32>,
    /// Bias, `[outputs]`.
    pub bias: Vec<f32>,
}

/// A batch norm in inference, `[channels]` each.
pub struct FrozenNorm<'a> {
    /// Scale.
    pub gamma: &'a [f32],
    /// Shift.
    pub beta: &'a [f32],
    /// Running mean.
    pub mean: &'a [f32],
    /// Running variance.
    pub variance: &'a [f32],
    /// Value that is added to the variance.
    pub epsilon: f64,
}

impl Folded {
    /// Folds `norm` into the weights of the convolution before it, in float64, and rounds once.
    pub fn new(mut weight: Vec<f32>, norm: &FrozenNorm) -> Self {
        let inputs = weight.len() / norm.gamma.len();
        let mut bias = Vec::with_capacity(norm.gamma.len());
        for (c, weight) in weight.chunks_exact_mut(inputs).enumerate() {
            let [gamma, beta, mean, variance] = [norm.gamma, norm.beta, norm.mean, norm.variance]
                .map(|values| f64::from(values[c]));
            let factor = gamma / (variance + norm.epsilon).sqrt();
            for w in weight {
                *w = (f64::from(*w) * factor) as f32;
            }
            bias.push((beta - factor * mean) as f32);
        }
        Self { weight, bias }
    }

    /// Number of output channels.
    pub(super) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Number of terms in each output's sum.
    pub(super) fn inputs(&self) -> usize {
        self.weight.len() / self.bias.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folded_sum_is_the_normalised_sum() {
        let (weight, x) = ([2.0, -1.0, 0.5, 3.0], [1.5f32, -2.5]);
        let norm = FrozenNorm {
            gamma: &[2.0, -1.0],
            beta: &[0.25, 1.0],
            mean: &[0.5, -3.0],
            variance: &[4.0, 0.25],
            epsilon: 1e-5,
        };
        let folded = Folded::new(weight.to_vec(), &norm);
        assert_eq!((folded.inputs(), folded.outputs()), (2, 2));
        for c in 0..2 {
            let sum = |w: &[f32]| w[2 * c] * x[0] + w[2 * c + 1] * x[1];
            let deviation = (norm.variance[c] + 1e-5).sqrt();
            let normed = norm.gamma[c] * (sum(&weight) - norm.mean[c]) / deviation + norm.beta[c];
            assert!((sum(&folded.weight) + folded.bias[c] - normed).abs() < 1e-5);
        }
    }
}
