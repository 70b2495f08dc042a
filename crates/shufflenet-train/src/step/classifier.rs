//! The network with its loss: images and labels in, loss and gradients out. A teacher's part of the loss is in
//! [`crate::step::teacher`].
//!
//! [`Classifier`] implements burn-train's `TrainStep` and `InferenceStep`, so it runs under
//! burn-train's own learner as well as in the loop of [`crate::run`].

use std::rc::Rc;

use burn::module::Module;
use burn::tensor::{Device, ExecutionError, Tensor, TensorData};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use shufflenet_data::{Batch, ImageShape};
use shufflenet_model::{Inference, ShuffleNetV2, cross_entropy_gradient};

use crate::device::launches;
use crate::recipe::loss::LossConfig;
use crate::recipe::progressive::shrink;
use crate::step::teacher::{Teacher, TeacherLoss};

/// A ShuffleNetV2 with the cross-entropy loss.
#[derive(Module, Debug)]
pub struct Classifier {
    /// The network, logits out.
    pub network: ShuffleNetV2,
}

/// A part of the images of an optimizer step.
pub struct MicroBatch {
    /// The images.
    pub batch: Batch,
    /// Share of the step's images, 0 to 1. Gradients are means over all images of the step.
    pub share: f64,
    /// Dropout's factors for the pooled features, `[images, features]` row after row. `None`: no dropout from the seed.
    pub mask: Option<Vec<f32>>,
    /// Shorter side in pixels that the images are shrunk to ([`crate::recipe::progressive`]). `None`: not shrunk.
    pub size: Option<usize>,
    /// The network that teaches this one. `None`: only the labels do.
    pub teacher: Option<Rc<Teacher>>,
}

impl From<Batch> for MicroBatch {
    /// All images of a step. Dropout, where configured, comes from the device's generator.
    fn from(batch: Batch) -> Self {
        Self {
            batch,
            share: 1.0,
            mask: None,
            size: None,
            teacher: None,
        }
    }
}

/// A batch on a device.
#[derive(Clone, Debug)]
pub struct Images {
    /// Normalised pixels, `[batch, channels, height, width]`.
    pub pixels: Tensor<4>,
    /// Factors of the log-probabilities in the loss, `[batch, classes]`; see [`crate::recipe::loss`].
    pub factors: Tensor<2>,
    /// Dropout's factors for the pooled features, `[batch, features]`. `None`: the network draws them from its device's
    /// generator.
    pub mask: Option<Tensor<2>>,
    /// The teacher's part of the loss. `None`: there is no teacher.
    pub teacher_loss: Option<TeacherLoss>,
}

/// The network's output for a batch.
pub struct Scores {
    /// Logits, `[batch, classes]`, detached from the graph.
    pub logits: Tensor<2>,
}

impl ItemLazy for Scores {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl Images {
    /// Moves a part of a step's images to `device`, with the targets of the loss for `classes` classes. The teacher
    /// runs there.
    pub fn new(part: MicroBatch, loss: &LossConfig, classes: usize, device: &Device) -> Self {
        let MicroBatch {
            batch,
            share,
            mask,
            size,
            teacher,
        } = part;
        let (count, whole) = (batch.len(), batch.whole());
        let targets = loss.targets(&batch, classes).into_iter();
        let label_weight = teacher.as_ref().map_or(1.0, |t| t.loss.label_weight);
        let factor = -(share * label_weight) as f32;
        let factors: Vec<f32> = targets.map(|target| target * factor).collect();
        let factors = TensorData::new(factors, [count, classes]);
        let mask = mask.map(|mask| {
            let features = mask.len() / count.max(1);
            Tensor::from_data(TensorData::new(mask, [count, features]), device)
        });
        let pixels = pixels(batch, device);
        let pixels = match size {
            Some(size) => shrink(pixels, size),
            None => pixels,
        };
        Self {
            factors: Tensor::from_data(factors, device),
            mask,
            teacher_loss: teacher.map(|teacher| {
                launches::part("teacher");
                teacher.loss_of(&pixels.clone().inner(), share, whole)
            }),
            pixels,
        }
    }
}

/// Moves a batch's pixels to `device`, `[batch, channels, height, width]`.
pub fn pixels(batch: Batch, device: &Device) -> Tensor<4> {
    let ImageShape {
        channels,
        height,
        width,
    } = batch.shape;
    let shape = [batch.len(), channels, height, width];
    Tensor::from_data(TensorData::new(batch.pixels, shape), device)
}

impl TrainStep for Classifier {
    type Input = Images;
    type Output = Scores;

    /// Forward, and backward from the gradient of the loss. The loss is computed later from the logits, when it is needed
    /// ([`crate::evaluation::tally`]).
    fn step(&self, batch: Images) -> TrainOutput<Scores> {
        let network = &self.network;
        launches::part("forward");
        let logits = match batch.mask {
            Some(mask) => network
                .classifier
                .forward(network.features(batch.pixels) * mask),
            None => network.forward(batch.pixels),
        };
        launches::part("loss");
        let scores = Scores {
            logits: logits.clone().inner(),
        };
        let mut gradient = cross_entropy_gradient(scores.logits.clone(), batch.factors.inner());
        if let Some(teacher_loss) = &batch.teacher_loss {
            gradient = gradient + teacher_loss.gradient(scores.logits.clone());
        }
        // This product has the gradient of the loss with respect to the logits.
        let product = logits * Tensor::from_inner(gradient);
        launches::part("backward");
        TrainOutput::new(self, product.backward(), scores)
    }
}

impl InferenceStep for Classifier {
    type Input = Images;
    type Output = Scores;

    /// Folds the network for each batch. [`crate::evaluation::score`] folds it once.
    fn step(&self, batch: Images) -> Scores {
        Scores {
            logits: Inference::new(&self.network).forward(batch.pixels),
        }
    }
}

impl Scores {
    /// The logits on the host, row after row.
    pub fn to_host(&self) -> Result<Vec<f32>, ExecutionError> {
        let data = self.logits.clone().try_into_data()?;
        Ok(data.iter::<f32>().collect())
    }
}
