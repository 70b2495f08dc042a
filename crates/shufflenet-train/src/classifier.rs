//! The network as something burn-train can step: images and labels in, loss and gradients out.
//!
//! [`Classifier`] implements burn-train's `TrainStep` and `InferenceStep`, so it runs under
//! burn-train's own learner as well as in our loop ([`crate::fit`] says why there is one).

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, ExecutionError, Int, Tensor, TensorData};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use shufflenet_data::Batch;
use shufflenet_model::{Inference, ShuffleNetV2};

/// A ShuffleNetV2 with the cross-entropy loss.
#[derive(Module, Debug)]
pub struct Classifier {
    /// The network, logits out.
    pub network: ShuffleNetV2,
}

/// A batch on a device.
#[derive(Clone, Debug)]
pub struct Images {
    /// Normalised pixels, `[batch, channels, height, width]`.
    pub pixels: Tensor<4>,
    /// Class indices, `[batch]`.
    pub labels: Tensor<1, Int>,
    /// What the mean loss over them counts: 1, or their share of the images of an optimizer step.
    pub share: f64,
    /// What dropout multiplies the pooled features by, `[batch, features]`. `None`: the network drops by
    /// itself, from its device's generator.
    pub mask: Option<Tensor<2>>,
}

/// What a step says of its batch.
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
    /// Moves a batch onto `device`; it counts for 1, and has no mask.
    pub fn new(batch: Batch, device: &Device) -> Self {
        let count = batch.len();
        let labels: Vec<i64> = batch.labels.into_iter().map(i64::from).collect();
        let shape = [
            count,
            batch.shape.channels,
            batch.shape.height,
            batch.shape.width,
        ];
        Self {
            pixels: Tensor::from_data(TensorData::new(batch.pixels, shape), device),
            labels: Tensor::from_data(TensorData::new(labels, [count]), device),
            share: 1.0,
            mask: None,
        }
    }
}

impl TrainStep for Classifier {
    type Input = Images;
    type Output = Scores;

    /// Forward, mean cross-entropy over the batch, backward.
    fn step(&self, batch: Images) -> TrainOutput<Scores> {
        let network = &self.network;
        let logits = match batch.mask {
            Some(mask) => network
                .classifier
                .forward(network.features(batch.pixels) * mask),
            None => network.forward(batch.pixels),
        };
        let loss = CrossEntropyLossConfig::new()
            .init(&logits.device())
            .forward(logits.clone(), batch.labels);
        let scores = Scores {
            logits: logits.inner(),
        };
        TrainOutput::new(self, (loss * batch.share).backward(), scores)
    }
}

impl InferenceStep for Classifier {
    type Input = Images;
    type Output = Scores;

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
