//! The measures of an evaluation besides loss and accuracy: for each class, for each pair of classes, calibration, and the
//! confidence interval of the accuracy.
//!
//! - **Precision, recall, F1** of a class: `tp / (tp + fp)`, `tp / (tp + fn)`, `2 tp / (2 tp + fp + fn)`. The ratio
//!   0 / 0 is absent. The macro F1 is the mean over classes that have records, where an absent F1 counts as 0.
//! - **Calibration error**: the expected one of Guo et al. 2017 ([On Calibration of Modern Neural
//!   Networks](https://arxiv.org/abs/1706.04599), equation 3): predictions in [`BINS`] bins of equal width by
//!   their probability, the mean distance of mean probability and accuracy, weighted by records.
//! - **Interval** of the accuracy: Wilson's (1927) for a proportion, at 95 %: the range for another sample of the same
//!   size from the same source. It does not cover another training run.

use std::collections::BTreeMap;

use serde::Serialize;

use shufflenet_model::softmax;

use crate::evaluation::tally;

/// Largest number of classes of a confusion matrix, whose size is its square.
pub const MOST_IN_CONFUSION: usize = 1_000;
/// Bins of the calibration.
pub const BINS: usize = 15;
/// Normal quantile of 95 %, both sides.
const Z: f64 = 1.959_963_984_540_054;

/// The network's prediction for one record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Class of the record.
    pub label: usize,
    /// The likeliest class.
    pub predicted: usize,
    /// Probability of the likeliest class.
    pub probability: f64,
    /// Probability of the record's class.
    pub own: f64,
    /// Number of classes that are likelier than the record's.
    pub rank: usize,
    /// Cross-entropy, in nats.
    pub loss: f64,
}

/// Measures of all outcomes of a set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measures {
    /// 95 % confidence interval of the top-1 accuracy.
    pub top1_interval: [f64; 2],
    /// Mean F1 over the classes that have records.
    pub macro_f1: f64,
    /// Expected calibration error, 0 to 1.
    pub calibration_error: f64,
    /// Bins of the calibration error, lowest probability first.
    pub calibration: Vec<Bin>,
    /// Each class.
    pub classes: Vec<Class>,
    /// Records by class (row) and prediction (column). Empty for more than [`MOST_IN_CONFUSION`] classes.
    pub confusion: Vec<Vec<u64>>,
    /// Records of each pair of a class and a prediction, by class and prediction.
    #[serde(skip)]
    pub pairs: BTreeMap<(usize, usize), u64>,
}

/// Predictions of similar probability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    /// Predictions.
    pub count: u64,
    /// Mean probability of the predictions.
    pub confidence: f64,
    /// Share of right predictions, 0 to 1.
    pub accuracy: f64,
}

/// How well one class is recognised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    /// Name of the class.
    pub name: String,
    /// Records.
    pub count: u64,
    /// Share of the predictions of this class that are right.
    pub precision: Option<f64>,
    /// Share of the records of this class that are predicted.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall.
    pub f1: Option<f64>,
}

impl Outcome {
    /// The outcome of a row of logits and the record's label. The last rank is that of a label whose logit is NaN
    /// ([`tally::rank`]).
    pub fn new(logits: &[f32], label: usize) -> Self {
        let probabilities = softmax(logits);
        let of = |class: usize| probabilities.get(class).copied().unwrap_or(f64::NAN);
        let ahead = |best: usize, class: usize| match logits[class] > logits[best] {
            true => class,
            false => best,
        };
        let predicted = (0..logits.len()).reduce(ahead).unwrap_or(0);
        Self {
            label,
            predicted,
            probability: of(predicted),
            own: of(label),
            rank: tally::rank(logits, label).unwrap_or(logits.len()),
            loss: -of(label).ln(),
        }
    }

    /// Whether the likeliest class is the record's.
    pub fn is_right(&self) -> bool {
        self.rank == 0
    }
}

impl Measures {
    /// Measures all outcomes of a set.
    pub fn of(outcomes: &[Outcome], class_names: &[String]) -> Self {
        let mut pairs = BTreeMap::new();
        for outcome in outcomes {
            *pairs.entry((outcome.label, outcome.predicted)).or_default() += 1;
        }
        let (mut labels, mut predictions) =
            (vec![0; class_names.len()], vec![0; class_names.len()]);
        for (&(label, predicted), count) in &pairs {
            for (counts, class) in [(&mut labels, label), (&mut predictions, predicted)] {
                if let Some(sum) = counts.get_mut(class) {
                    *sum += count;
                }
            }
        }
        let counts = labels.into_iter().zip(predictions).enumerate();
        let classes: Vec<Class> = class_names
            .iter()
            .zip(counts)
            .map(|(name, (class, (count, predicted)))| {
                let hits = pairs.get(&(class, class)).copied().unwrap_or(0);
                Class::new(name, hits, count, predicted)
            })
            .collect();
        let present: Vec<f64> = classes
            .iter()
            .filter(|class| class.count > 0)
            .map(|class| class.f1.unwrap_or(0.0))
            .collect();
        let right = outcomes.iter().filter(|outcome| outcome.is_right()).count();
        let calibration = calibration(outcomes);
        Self {
            top1_interval: wilson(right as u64, outcomes.len() as u64),
            macro_f1: present.iter().sum::<f64>() / present.len().max(1) as f64,
            calibration_error: calibration_error(&calibration),
            calibration,
            classes,
            confusion: confusion(&pairs, class_names.len()),
            pairs,
        }
    }
}

impl Class {
    /// A class of `count` records that is predicted `predicted` times, `hits` of them rightly.
    fn new(name: &str, hits: u64, count: u64, predicted: u64) -> Self {
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        Self {
            name: name.into(),
            count,
            precision: ratio(hits, predicted),
            recall: ratio(hits, count),
            f1: ratio(2 * hits, predicted + count),
        }
    }
}

/// The confusion matrix of `classes` classes.
fn confusion(pairs: &BTreeMap<(usize, usize), u64>, classes: usize) -> Vec<Vec<u64>> {
    if classes > MOST_IN_CONFUSION {
        return Vec::new();
    }
    let row = |label| {
        let cell = |predicted| pairs.get(&(label, predicted)).copied().unwrap_or(0);
        (0..classes).map(cell).collect()
    };
    (0..classes).map(row).collect()
}

/// Wilson's interval of `hits` of `count`. Without records: 0 to 1.
pub fn wilson(hits: u64, count: u64) -> [f64; 2] {
    if count == 0 {
        return [0.0, 1.0];
    }
    let (n, p) = (count as f64, hits as f64 / count as f64);
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    [
        ((middle - half) / scale).max(0.0),
        ((middle + half) / scale).min(1.0),
    ]
}

fn calibration(outcomes: &[Outcome]) -> Vec<Bin> {
    let mut bins = vec![Bin::default(); BINS];
    for outcome in outcomes {
        let index = (outcome.probability * BINS as f64) as usize;
        if let Some(bin) = bins.get_mut(index.min(BINS - 1)) {
            bin.count += 1;
            bin.confidence += outcome.probability;
            bin.accuracy += f64::from(u8::from(outcome.is_right()));
        }
    }
    for bin in &mut bins {
        let count = bin.count.max(1) as f64;
        bin.confidence /= count;
        bin.accuracy /= count;
    }
    bins
}

fn calibration_error(bins: &[Bin]) -> f64 {
    let count: u64 = bins.iter().map(|bin| bin.count).sum();
    let off = |bin: &Bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs();
    bins.iter().map(off).sum::<f64>() / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| class.to_string()).collect()
    }

    fn outcome(label: usize, predicted: usize, probability: f64) -> Outcome {
        Outcome {
            label,
            predicted,
            probability,
            own: 0.0,
            rank: usize::from(label != predicted),
            loss: 0.0,
        }
    }

    /// Counted by hand.
    #[test]
    fn precision_recall_and_f1_are_of_each_class() {
        let pairs = [
            (0, 0),
            (0, 1),
            (1, 1),
            (1, 1),
            (2, 0),
            (2, 1),
            (2, 2),
            (0, 0),
        ];
        let outcomes: Vec<Outcome> = pairs.iter().map(|&(l, p)| outcome(l, p, 0.5)).collect();
        let measures = Measures::of(&outcomes, &names(4));
        let found: Vec<_> = measures
            .classes
            .iter()
            .map(|class| (class.count, class.precision, class.recall))
            .collect();
        let third = Some(1.0 / 3.0);
        assert_eq!(found[0], (3, Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!(found[1], (2, Some(0.5), Some(1.0)));
        assert_eq!(found[2], (3, Some(1.0), third));
        assert_eq!(found[3], (0, None, None));
        let expected = (2.0 / 3.0 + 2.0 / 3.0 + 0.5) / 3.0;
        assert!((measures.macro_f1 - expected).abs() < 1e-12);
        assert_eq!(measures.confusion[2], [1, 1, 1, 0]);
    }

    /// Newcombe 1998, table 1: 81 of 263 and 1 of 29.
    #[test]
    fn the_interval_is_wilsons() {
        let close = |hits, count, expected: [f64; 2]| {
            let found = wilson(hits, count);
            let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f64::max) < 5e-5, "{found:?}");
        };
        close(81, 263, [0.2553, 0.3662]);
        close(1, 29, [0.0061, 0.1718]);
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
    }

    #[test]
    fn the_calibration_error_is_the_mean_gap() {
        // Four of 0.9 of which half are right, one certain and right.
        let mut outcomes: Vec<Outcome> = (0..4).map(|i| outcome(0, i % 2, 0.9)).collect();
        outcomes.push(outcome(1, 1, 1.0));
        let measures = Measures::of(&outcomes, &names(2));
        assert!((measures.calibration_error - 4.0 * 0.4 / 5.0).abs() < 1e-12);
    }

    #[test]
    fn an_outcome_agrees_with_the_tally() {
        let row = [1.0, 3.0, 3.0, f32::NEG_INFINITY];
        let [first, second] = [1, 2].map(|label| Outcome::new(&row, label));
        assert_eq!((first.predicted, first.rank), (1, 0));
        assert_eq!((second.predicted, second.rank), (1, 1));
        let mut tally = crate::evaluation::tally::Tally::default();
        tally.add(&row, &[2]);
        assert!((tally.loss - second.loss).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn every_record_is_counted_once(
            pairs in prop::collection::vec((0usize..5, 0usize..5, 0.0f64..=1.0), 0..200),
        ) {
            let outcomes: Vec<Outcome> = pairs.iter().map(|&(l, p, c)| outcome(l, p, c)).collect();
            let measures = Measures::of(&outcomes, &names(5));
            let count = outcomes.len() as u64;
            prop_assert_eq!(measures.confusion.iter().flatten().sum::<u64>(), count);
            prop_assert_eq!(measures.calibration.iter().map(|bin| bin.count).sum::<u64>(), count);
            prop_assert_eq!(measures.classes.iter().map(|class| class.count).sum::<u64>(), count);
            prop_assert!((0.0..=1.0).contains(&measures.calibration_error));
            let [low, high] = measures.top1_interval;
            let right = outcomes.iter().filter(|o| o.is_right()).count() as f64;
            let top1 = right / count.max(1) as f64;
            prop_assert!(count == 0 || (low <= top1 + 1e-12 && top1 <= high + 1e-12));
        }
    }
}
