//! Loss and accuracy, summed over records.
//!
//! Everything is computed on the host from the logits, in float64 and in record order. So the mean over a set
//! is weighted by record (a smaller last batch counts less), is the same on every device, and can be stored in
//! a checkpoint and continued exactly.

use serde::{Deserialize, Deserializer, Serialize};

/// Sums over the records seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Sum of the records' cross-entropies, in nats.
    pub loss: f64,
    /// Number of records whose label has the highest logit.
    pub top1: u64,
    /// Number of records whose label is among the five highest logits.
    pub top5: u64,
    /// Records.
    pub count: u64,
}

/// Means over the records of a [`Tally`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean cross-entropy, in nats. In JSON `null` is a loss that is infinite or NaN.
    #[serde(deserialize_with = "or_nan")]
    pub loss: f64,
    /// Top-1 accuracy, 0 to 1.
    pub top1: f64,
    /// Top-5 accuracy, 0 to 1.
    pub top5: f64,
    /// Records.
    pub count: u64,
}

fn or_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// A measurement of the weights or of their average.
pub struct Evaluation {
    /// `ema` for the moving average, else `None`.
    pub weights: Option<&'static str>,
    /// Loss and accuracy.
    pub metrics: Metrics,
    /// Images per second.
    pub speed: f64,
}

/// The measure by which epochs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Criterion {
    /// Top-1 accuracy, the higher the better.
    Top1,
    /// Top-5 accuracy, the higher the better.
    Top5,
    /// Mean cross-entropy, the lower the better.
    Loss,
}

impl Criterion {
    /// The value by which epochs are compared.
    pub fn of(self, metrics: &Metrics) -> f64 {
        match self {
            Self::Top1 => metrics.top1,
            Self::Top5 => metrics.top5,
            Self::Loss => metrics.loss,
        }
    }

    /// Whether `new` is better than `old`.
    pub fn prefers(self, new: f64, old: f64) -> bool {
        match self {
            Self::Top1 | Self::Top5 => new > old,
            Self::Loss => new < old,
        }
    }

    /// `top-1 86.42 %`, `loss 0.3812`
    pub fn describe(self, value: f64) -> String {
        match self {
            Self::Top1 => format!("top-1 {:.2} %", value * 100.0),
            Self::Top5 => format!("top-5 {:.2} %", value * 100.0),
            Self::Loss => format!("loss {value:.4}"),
        }
    }
}

impl Tally {
    /// Adds a batch: `logits` row after row, `[labels.len(), classes]`, and its labels.
    ///
    /// The cross-entropy of a row is `log(sum(exp(z))) - z[label]`.
    pub fn add(&mut self, logits: &[f32], labels: &[u16]) {
        let classes = logits.len() / labels.len().max(1);
        for (row, &label) in logits.chunks(classes.max(1)).zip(labels) {
            let label = usize::from(label);
            let Some(&own) = row.get(label) else { continue };
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|&z| f64::from(z - max).exp()).sum();
            self.loss += sum.ln() + f64::from(max) - f64::from(own);
            let rank = rank(row, label);
            self.top1 += u64::from(rank.is_some_and(|rank| rank < 1));
            self.top5 += u64::from(rank.is_some_and(|rank| rank < 5));
            self.count += 1;
        }
    }

    /// Adds the sums of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.loss += other.loss;
        self.top1 += other.top1;
        self.top5 += other.top5;
        self.count += other.count;
    }

    /// The sums that were added after `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            loss: self.loss - earlier.loss,
            top1: self.top1.saturating_sub(earlier.top1),
            top5: self.top5.saturating_sub(earlier.top5),
            count: self.count.saturating_sub(earlier.count),
        }
    }

    /// The means. All are zero if nothing was added.
    pub fn metrics(&self) -> Metrics {
        let count = self.count.max(1) as f64;
        Metrics {
            loss: self.loss / count,
            top1: self.top1 as f64 / count,
            top5: self.top5 as f64 / count,
            count: self.count,
        }
    }
}

/// Number of classes that are ahead of the label's by these logits. Of equal logits the lower class is ahead, as in
/// PyTorch's `argmax`. NaN is ahead of every number. `None`: the label's own logit is NaN, or there is none.
pub(super) fn rank(logits: &[f32], label: usize) -> Option<usize> {
    let own = logits.get(label).filter(|own| !own.is_nan())?;
    let is_ahead = |&(class, z): &(usize, &f32)| match z.partial_cmp(own) {
        Some(order) => order.is_gt() || (order.is_eq() && class < label),
        None => true,
    };
    Some(logits.iter().enumerate().filter(is_ahead).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(logits: &[f32], labels: &[u16]) -> Tally {
        let mut tally = Tally::default();
        tally.add(logits, labels);
        tally
    }

    #[test]
    fn the_loss_of_uniform_logits_is_the_logarithm_of_the_class_count() {
        let metrics = tally(&[0.0; 20], &[0, 9]).metrics();
        assert!((metrics.loss - 10f64.ln()).abs() < 1e-12);
        assert_eq!((metrics.top1, metrics.top5), (0.5, 0.5));
    }

    #[test]
    fn rank_decides_top1_and_top5() {
        let row = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0];
        for (label, top1, top5) in [(0, 1, 1), (1, 0, 1), (4, 0, 1), (5, 0, 0)] {
            let tally = tally(&row, &[label]);
            assert_eq!((tally.top1, tally.top5), (top1, top5), "label {label}");
        }
    }

    #[test]
    fn batches_of_any_size_add_up_to_the_same_sums() {
        let logits: Vec<f32> = (0..70).map(|i| ((i * 37) % 11) as f32 / 3.0).collect();
        let labels = [1, 4, 9, 0, 2, 2, 7];
        let mut parts = Tally::default();
        parts.add(&logits[..40], &labels[..4]);
        parts.add(&logits[40..], &labels[4..]);
        assert_eq!(parts, tally(&logits, &labels));
    }

    #[test]
    fn large_logits_do_not_overflow_and_nan_is_no_hit() {
        assert_eq!(tally(&[1e30, -1e30], &[0]).metrics().loss, 0.0);
        let broken = tally(&[f32::NAN, f32::NAN], &[0]);
        assert!(broken.loss.is_nan());
        assert_eq!((broken.top1, broken.top5), (0, 0));
    }
}
