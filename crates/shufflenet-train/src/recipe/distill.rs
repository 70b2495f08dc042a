//! The section `[distill]`: a smaller network, the student, learns the class probabilities of a trained network, the
//! teacher.
//!
//! With the student's logits `z`, the teacher's `v` for the same pixels, `C` classes, temperature `T`, weight `w` and label
//! weight `a`:
//!
//! ```text
//! loss = a L + w D
//! D    = T^2 sum_c p_c (log p_c - log q_c),    p = softmax(s(v) / T),    q = softmax(s(z) / T)
//! ```
//!
//! `L` is the loss of [`crate::recipe::loss`], and `D` is a mean over the images of a batch, without class weights. The
//! kinds differ in `s`:
//!
//! - `kd`: `s(z) = z` (Hinton, Vinyals and Dean, 2015, [Distilling the Knowledge in a Neural Network](
//!   https://arxiv.org/abs/1503.02531), section 2, where `a = 1 - w`).
//! - `standardized`: `s(z) = (z - mean(z)) / (std(z) + 1e-7)` over the classes of an image, `std` with `C - 1` in its divisor
//!   (Sun et al., 2024, [Logit Standardization in Knowledge Distillation](https://arxiv.org/abs/2403.01427); constants as in
//!   `mdistiller/distillers/KD.py` of sunshangquan/logit-standardization-KD, which has `T = 2`, `w = 9`, `a = 0.1`).
//!
//! Several teachers act as one teacher whose logits are the mean of theirs. [`crate::step::distill`] opens them.

use std::fmt;
use std::path::PathBuf;

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{TrainError, require};

/// Added to a standard deviation before the division.
const EPSILON: f64 = 1e-7;

/// A network that teaches this one: see `docs/distillation.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distill {
    /// The teacher: a run folder (its best checkpoint), a checkpoint folder (an import, too), or one of its weight
    /// files. Its classes are the data's, by name and in any order. Width, layout, switches, image size and
    /// normalisation may be others. Several teachers, `["runs/a", "runs/b"]`, teach by the mean of their logits.
    pub from: Teachers,
    /// `kd` compares logits divided by the temperature (Hinton et al., 2015); `standardized` first subtracts from the
    /// logits of an image their mean and divides them by their standard deviation (Sun et al., 2024).
    #[serde(default)]
    pub kind: DistillKind,
    /// Divisor of the logits, 0.01 to 1000. A higher temperature gives more weight to the classes that the teacher finds
    /// unlikely.
    #[serde(default = "temperature")]
    pub temperature: f64,
    /// How much the teacher counts: `loss = label_weight * labels' loss + weight * T^2 * KL(teacher, student)`. 0 to 1;
    /// if `label_weight` is set, 0 to 1000.
    #[serde(default = "weight")]
    pub weight: f64,
    /// How much the loss of the labels counts, 0 to 1000. Unset: `1 - weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_weight: Option<f64>,
    /// The last epoch without the teacher. 0: the teacher teaches from the start. A teacher is often wrong about images
    /// below its full size, such as those of `train.progressive`.
    #[serde(default)]
    pub after_epoch: usize,
}

fn temperature() -> f64 {
    4.0
}

fn weight() -> f64 {
    0.9
}

/// The function of the logits that is compared between teacher and student.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DistillKind {
    /// The logits.
    #[default]
    Kd,
    /// The logits, with mean 0 and standard deviation 1 over the classes of each image.
    Standardized,
}

/// The numbers and the kind of [`Distill`], without the teachers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DistillLoss {
    /// The function of the logits that is compared.
    pub kind: DistillKind,
    /// `T`.
    pub temperature: f64,
    /// `w`.
    pub weight: f64,
    /// `a`.
    pub label_weight: f64,
}

impl Distill {
    /// Checks that the settings are in range for a run of `epochs` epochs.
    ///
    /// # Errors
    /// [`TrainError::Value`].
    pub fn check(&self, epochs: usize) -> Result<(), TrainError> {
        let from = "distill.from";
        require(
            !self.from.0.is_empty(),
            from,
            "[]",
            "a teacher, or a list of them",
        )?;
        require(
            (0.01..=1000.0).contains(&self.temperature),
            "distill.temperature",
            self.temperature,
            "a number from 0.01 to 1000",
        )?;
        let (most, accepted) = match self.label_weight {
            None => (1.0, "a number from 0 to 1; more with distill.label_weight"),
            Some(_) => (1000.0, "a number from 0 to 1000"),
        };
        let in_range = (0.0..=most).contains(&self.weight);
        require(in_range, "distill.weight", self.weight, accepted)?;
        let label_weight = self.label_weight.unwrap_or(0.0);
        require(
            (0.0..=1000.0).contains(&label_weight),
            "distill.label_weight",
            label_weight,
            "a number from 0 to 1000",
        )?;
        require(
            self.after_epoch < epochs,
            "distill.after_epoch",
            self.after_epoch,
            &format!("less than train.epochs, {epochs}"),
        )
    }

    /// Refuses fewer than three classes for `standardized`, because the standardised logits of two are always the same
    /// numbers.
    ///
    /// # Errors
    /// [`TrainError::Value`].
    pub fn check_classes(&self, classes: usize) -> Result<(), TrainError> {
        require(
            self.kind == DistillKind::Kd || classes > 2,
            "distill.kind",
            format!("\"standardized\", for {classes} classes"),
            "\"kd\", where there are less than three",
        )
    }

    /// The settings without the teachers.
    pub fn loss(&self) -> DistillLoss {
        DistillLoss {
            kind: self.kind,
            temperature: self.temperature,
            weight: self.weight,
            label_weight: self.label_weight.unwrap_or(1.0 - self.weight),
        }
    }
}

impl DistillLoss {
    /// The teacher's probabilities, `p`.
    ///
    /// # Shapes
    /// - `logits`, output: `[batch, classes]`
    pub fn targets(&self, logits: Tensor<2>) -> Tensor<2> {
        self.softened(self.scores(logits).0)
    }

    /// The gradient of the sum of `D` over the images with respect to the student's logits. `targets` are `p`. With
    /// `g = T (q - p)`, whose sum is zero, and the divisor `d = std(z) + 1e-7`:
    ///
    /// ```text
    /// kd            g
    /// standardized  (g - s sum(g s) / (C - 1)) / d
    /// ```
    ///
    /// The second formula uses `d` in one place where the exact gradient has `std(z)`, so that it is finite for equal
    /// logits.
    ///
    /// # Shapes
    /// - `logits`, `targets`, output: `[batch, classes]`
    pub fn gradient(&self, logits: Tensor<2>, targets: Tensor<2>) -> Tensor<2> {
        let [_, classes] = logits.dims();
        let (scores, divisor) = self.scores(logits);
        let gradient = (self.softened(scores.clone()) - targets) * self.temperature;
        let Some(divisor) = divisor else {
            return gradient;
        };
        let along = (gradient.clone() * scores.clone()).sum_dim(1) / (classes as f64 - 1.0);
        (gradient - scores * along) / divisor
    }

    /// `s` of the logits, and the divisor that it used, `[batch, 1]`, if any.
    fn scores(&self, logits: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
        if self.kind == DistillKind::Kd {
            return (logits, None);
        }
        let [_, classes] = logits.dims();
        let centred = logits.clone() - logits.mean_dim(1);
        let squares = (centred.clone() * centred.clone()).sum_dim(1);
        let divisor = (squares / (classes as f64 - 1.0)).sqrt() + EPSILON;
        (centred / divisor.clone(), Some(divisor))
    }

    fn softened(&self, scores: Tensor<2>) -> Tensor<2> {
        softmax(scores / self.temperature, 1)
    }
}

/// The settings without the teachers: `kd, temperature 4, loss 0.1 by the labels and 0.9 by the teacher, after epoch 6`
impl fmt::Display for Distill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loss = self.loss();
        let kind = match loss.kind {
            DistillKind::Kd => "kd",
            DistillKind::Standardized => "standardized",
        };
        // In floating point, 1 - 0.9 is not 0.1.
        let label_weight = (loss.label_weight * 1e6).round() / 1e6;
        let (temperature, weight) = (loss.temperature, loss.weight);
        write!(
            f,
            "{kind}, temperature {temperature}, loss {label_weight} by the labels and {weight} by the teacher"
        )?;
        match self.after_epoch {
            0 => Ok(()),
            epoch => write!(f, ", after epoch {epoch}"),
        }
    }
}

/// Where the teachers are: a path, or a list of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Teachers(pub Vec<PathBuf>);

impl Serialize for Teachers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Teachers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Paths;

        impl<'de> Visitor<'de> for Paths {
            type Value = Teachers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a list of paths")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Teachers(vec![text.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = list.next_element()? {
                    paths.push(path);
                }
                Ok(Teachers(paths))
            }
        }

        deserializer.deserialize_any(Paths)
    }
}
