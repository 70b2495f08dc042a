//! Cross-entropy with soft targets. Label smoothing, class weights and mixed images each change the targets,
//! so the loss stays one product.
//!
//! With `p` the target of an image (one for its label, or the mixture of two labels by mixup and cutmix), `C`
//! classes, smoothing `s` (Szegedy et al., 2015, section 7) and class weights `w`:
//!
//! ```text
//! t_c  = w_c ((1 - s) p_c + s / C)
//! loss = -sum(t log_softmax(logits)) / D
//! ```
//!
//! as in PyTorch's `cross_entropy(weight, label_smoothing)`. `D` is the sum of the labels' weights, or the
//! number of images if there are no class weights or if labels are mixed. The loss is a mean over a batch, and
//! a step of several batches weighs it by their images. If ranks share a batch, `D` is that of the whole batch,
//! and the loss of a share is its part of the sum.

use serde::{Deserialize, Serialize};
use shufflenet_data::Batch;

use crate::error::{TrainError, require};
use crate::recipe::class_weights::ClassWeights;

/// The loss that training minimises.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Fraction of each target that is spread evenly over all classes, 0 to below 1.
    pub label_smoothing: f64,
    /// Weight of an image in the loss by its class: a number for each class, in their order, or `"balanced"`, which gives
    /// all classes the same total weight (`N / (C n)` for a class with `n` of the `N` training images, `C` classes).
    /// Unset: every image has the same weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
}

impl LossConfig {
    /// Checks that the settings are in range for `classes` classes.
    ///
    /// # Errors
    /// [`TrainError::Value`].
    pub fn check(&self, classes: usize) -> Result<(), TrainError> {
        require(
            (0.0..1.0).contains(&self.label_smoothing),
            "loss.label_smoothing",
            self.label_smoothing,
            "a number from 0 to below 1",
        )?;
        let Some(ClassWeights::Given(weights)) = &self.class_weights else {
            return Ok(());
        };
        let positive = weights
            .iter()
            .all(|weight| *weight > 0.0 && weight.is_finite());
        require(
            weights.len() == classes && positive,
            "loss.class_weights",
            format!("{weights:?}"),
            &format!("a positive number for each of the {classes} classes"),
        )
    }

    /// The loss for training data with `images` images of each class. Balanced class weights become numbers.
    pub fn on(&self, images: &[usize]) -> Self {
        let weights = self.class_weights.as_ref();
        Self {
            class_weights: weights.map(|weights| ClassWeights::Given(weights.of(images))),
            ..self.clone()
        }
    }

    /// Targets of a batch that multiply the log-probabilities, `t / D`: `[images, classes]`, row after row.
    /// Balanced weights must be numbers by now ([`Self::on`]).
    pub fn targets(&self, batch: &Batch, classes: usize) -> Vec<f32> {
        let weight = |class: usize| match &self.class_weights {
            Some(ClassWeights::Given(weights)) => weights.get(class).copied().unwrap_or(1.0),
            Some(ClassWeights::Balanced) | None => 1.0,
        };
        let divisor = match batch.mix {
            Some(_) => batch.whole() as f64,
            None => {
                let others = batch.share.iter().flat_map(|share| &share.others);
                let labels = batch.labels.iter().chain(others);
                labels.map(|&label| weight(label.into())).sum()
            }
        };
        let (kept, spread) = (
            1.0 - self.label_smoothing,
            self.label_smoothing / classes as f64,
        );
        let mut targets = Vec::with_capacity(batch.len() * classes);
        for (image, &label) in batch.labels.iter().enumerate() {
            let (own, other) = match &batch.mix {
                Some(mix) => (mix.share, mix.labels.get(image).copied()),
                None => (1.0, None),
            };
            for class in 0..classes {
                let is = |label: u16| f64::from(u8::from(usize::from(label) == class));
                let mixed = other.map_or(0.0, |other| (1.0 - own) * is(other));
                let target = kept * (own * is(label) + mixed) + spread;
                targets.push((weight(class) * target / divisor) as f32);
            }
        }
        targets
    }
}
