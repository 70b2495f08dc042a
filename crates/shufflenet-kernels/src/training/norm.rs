//! Batch norm as two affine maps per channel, from sums over the batch.
//!
//! Forward, with the batch's mean `m` and biased variance `v` of `n` values, `r = 1 / sqrt(v + eps)`:
//!
//! ```text
//! norm(y) = scale y + shift,    scale = gamma r,    shift = beta - m scale.
//! ```
//!
//! Backward, with `s = sum(g)` and `t = sum(g (y - m))` of the output's gradient `g`:
//!
//! ```text
//! dbeta = s,    dgamma = r t,
//! dy = scale g - (scale r^2 t / n) (y - m) - scale s / n.
//! ```
//!
//! Both equations are Ioffe & Szegedy's (2015, section 3) with the sums factored out; [`crate::training::moments`]
//! computes the sums. If the batch is spread over several processes, [`crate::ranks`] adds up their sums.

use crate::kernels::packing::ConvNorm;
use crate::ranks;
use crate::simd::Isa;
use crate::training::moments::Moments;

/// A batch norm with its statistics.
pub struct Norm {
    count: f64,
    /// Mean of the batch.
    pub batch_mean: Vec<f64>,
    /// Biased variance of the batch.
    pub batch_variance: Vec<f64>,
    /// `1 / sqrt(variance + epsilon)`
    inverse: Vec<f64>,
    /// Mean of the batch in float32. This, `scale` and `shift` are whole vectors.
    pub mean: Vec<f32>,
    /// Factor of each channel.
    pub scale: Vec<f32>,
    /// Term of each channel.
    pub shift: Vec<f32>,
}

/// Batch norm's backward for one batch.
pub struct NormBackward {
    /// `a`, `b`, `c` of `dy = a g + b (y - mean) + c`, whole vectors.
    pub factors: [Vec<f32>; 3],
    /// Gradient of gamma.
    pub gamma: Vec<f32>,
    /// Gradient of beta.
    pub beta: Vec<f32>,
}

impl Norm {
    /// Merges the moments of the parts, in their order, and then those of the ranks.
    pub(crate) fn of_batch(isa: Isa, parts: &[Moments], conv: ConvNorm, epsilon: f64) -> Self {
        let columns = conv.outputs();
        let (mut count, mut moments) = Moments::merge(parts, columns);
        if let Some(sum) = ranks::sum() {
            count = over_ranks(&sum, count, &mut moments);
        }
        let mut norm = Self::empty(isa, columns, count);
        for (c, [mean, deviation]) in moments.into_iter().enumerate() {
            norm.set(c, [mean, deviation / count], conv, epsilon);
        }
        norm
    }

    fn empty(isa: Isa, columns: usize, count: f64) -> Self {
        Self {
            count,
            batch_mean: vec![0.0; columns],
            batch_variance: vec![0.0; columns],
            inverse: vec![0.0; columns],
            mean: vec![0.0; isa.padded(columns)],
            scale: vec![0.0; isa.padded(columns)],
            shift: vec![0.0; isa.padded(columns)],
        }
    }

    /// Sets channel `c` to this mean and biased variance.
    fn set(&mut self, c: usize, [mean, variance]: [f64; 2], conv: ConvNorm, epsilon: f64) {
        let inverse = 1.0 / (variance + epsilon).sqrt();
        let scale = f64::from(conv.gamma[c]) * inverse;
        self.batch_mean[c] = mean;
        self.batch_variance[c] = variance;
        self.inverse[c] = inverse;
        self.mean[c] = mean as f32;
        self.scale[c] = scale as f32;
        self.shift[c] = (f64::from(conv.beta[c]) - mean * scale) as f32;
    }

    /// Number of channels.
    pub(crate) fn columns(&self) -> usize {
        self.batch_mean.len()
    }

    /// *Unbiased* variance of the batch, for the running statistics.
    pub(crate) fn unbiased_variance(&self) -> impl Iterator<Item = f32> + '_ {
        let correction = self.count / (self.count - 1.0);
        self.batch_variance
            .iter()
            .map(move |v| (v * correction) as f32)
    }

    /// Mean and unbiased variance of the batch, one after the other.
    pub fn statistics(&self) -> Vec<f32> {
        let mean = self.batch_mean.iter().map(|mean| *mean as f32);
        mean.chain(self.unbiased_variance()).collect()
    }

    /// The backward from `sum(g)` and `sum(g (y - mean))` over this process's images. The gradients of gamma and
    /// beta are from these sums alone; the input's gradient is from the sums over all ranks.
    pub(crate) fn backward(&self, [plain, weighted]: &[Vec<f64>; 2]) -> NormBackward {
        let columns = self.columns();
        let mut batch = Vec::new();
        let (all_plain, all_weighted) = match ranks::sum() {
            None => (&plain[..], &weighted[..]),
            Some(sum) => {
                batch.extend(plain.iter().chain(weighted));
                sum(&mut batch);
                batch.split_at(columns)
            }
        };
        let mut backward = NormBackward {
            factors: [0, 1, 2].map(|_| vec![0.0; self.mean.len()]),
            gamma: vec![0.0; columns],
            beta: vec![0.0; columns],
        };
        for c in 0..columns {
            let (scale, inverse) = (f64::from(self.scale[c]), self.inverse[c]);
            let [a, b, offset] = &mut backward.factors;
            a[c] = scale as f32;
            b[c] = (-scale * inverse * inverse * all_weighted[c] / self.count) as f32;
            offset[c] = (-scale * all_plain[c] / self.count) as f32;
            backward.gamma[c] = (inverse * weighted[c]) as f32;
            backward.beta[c] = plain[c] as f32;
        }
        backward
    }
}

/// Replaces means and squared deviations of this rank's `count` rows by those over all ranks, and returns the
/// number of rows of all ranks. Squares are summed without a center, in one message for all columns: float64
/// has enough digits for the mean that cancels.
fn over_ranks(sum: &ranks::Sum, count: f64, moments: &mut [[f64; 2]]) -> f64 {
    let mut sums = vec![count];
    for [mean, deviation] in &*moments {
        sums.extend([mean * count, deviation + mean * mean * count]);
    }
    sum(&mut sums);
    let count = sums[0];
    for (moments, sums) in moments.iter_mut().zip(sums[1..].chunks_exact(2)) {
        let mean = sums[0] / count;
        *moments = [mean, (sums[1] - mean * sums[0]).max(0.0)];
    }
    count
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::thread;

    use super::*;
    use crate::kernels::rows::Rows;
    use crate::testing::numbers;
    use crate::training::moments::GradientMoments;

    /// Three columns of numbers from -4 to 6.
    fn rows(count: usize, seed: usize) -> Vec<f32> {
        let numbers = numbers(3 * count, seed).into_iter();
        numbers.map(|x| 5.0 * x + 1.0).collect()
    }

    /// The norm of the rows `y`, and its backward for the gradients `g`.
    fn normed(y: &[f32], g: &[f32]) -> (Norm, NormBackward) {
        let isa = Isa::detected();
        let conv = ConvNorm {
            weight: &[],
            gamma: &[1.5; 3],
            beta: &[0.5; 3],
        };
        let of = |data| Rows::new(data, 3);
        let mut moments = Moments::new(isa, 3);
        moments.add(isa, y.len() / 3, of(y));
        let norm = Norm::of_batch(isa, &[moments], conv, 1e-5);
        let mut sums = GradientMoments::new(isa, 3);
        sums.add(isa, y.len() / 3, of(g), of(y), &norm);
        let backward = norm.backward(&GradientMoments::merge(&[sums]));
        (norm, backward)
    }

    #[test]
    fn ranks_with_shares_of_a_batch_norm_it_as_one_with_all_of_it() {
        let (y, g) = (rows(700, 1), rows(700, 5));
        let (whole, whole_backward) = normed(&y, &g);
        let sum = crate::testing::sums_over(2);
        let shares = thread::scope(|scope| {
            let ranks = [0..300 * 3, 300 * 3..700 * 3].map(|share| {
                let (y, g, sum) = (&y[share.clone()], &g[share], sum.clone());
                scope.spawn(move || ranks::summed_by(Rc::new(sum), || normed(y, g)))
            });
            ranks.map(|rank| rank.join().unwrap())
        });
        let close = |a: f32, b: f32| assert!((a - b).abs() <= 1e-5 * b.abs().max(1e-2), "{a}, {b}");
        for (norm, backward) in &shares {
            for c in 0..3 {
                close(norm.scale[c], whole.scale[c]);
                close(norm.shift[c], whole.shift[c]);
                for (ours, whole) in backward.factors.iter().zip(&whole_backward.factors) {
                    close(ours[c], whole[c]);
                }
            }
            assert_eq!(norm.statistics(), shares[0].0.statistics());
        }
        // Each rank has its part of the weights' gradients.
        for c in 0..3 {
            let [first, second] = [0, 1].map(|rank| &shares[rank].1);
            close(first.gamma[c] + second.gamma[c], whole_backward.gamma[c]);
            close(first.beta[c] + second.beta[c], whole_backward.beta[c]);
        }
    }

    #[test]
    fn statistics_do_not_cancel_where_the_mean_is_large() {
        // Mean 1000, deviation 1/4: in float32, x^2 - mean^2 would leave nothing of it.
        let columns = 3;
        let x: Vec<f32> = (0..columns * 700)
            .map(|i| 1000.0 + 0.25 * if i / 3 % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        for isa in Isa::available() {
            let mut parts: Vec<Moments> = (0..2).map(|_| Moments::new(isa, columns)).collect();
            let stride = columns;
            parts[0].add(isa, 300, Rows::new(&x, stride));
            parts[1].add(isa, 400, Rows::new(&x[300 * columns..], stride));
            let conv = ConvNorm {
                weight: &[],
                gamma: &[1.0; 3],
                beta: &[0.0; 3],
            };
            let norm = Norm::of_batch(isa, &parts, conv, 0.0);
            for c in 0..columns {
                assert!((norm.batch_mean[c] - 1000.0).abs() < 1e-6);
                assert!((norm.batch_variance[c] - 0.0625).abs() < 1e-6);
            }
        }
    }
}
