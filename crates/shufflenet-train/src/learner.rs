//! The network with its optimizer, and the one step that training and benchmarks both take.

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use burn::train::TrainStep;
use shufflenet_data::Batch;
use shufflenet_model::{ModelConfig, ShuffleNetV2};

use crate::classifier::{Classifier, Images};
use crate::error::TrainError;
use crate::experiment::OptimizerConfig;
use crate::optimizer;
use crate::tally::Tally;

/// What a step of training changes.
pub struct Learner {
    /// The network, on an autodiff device.
    pub classifier: Classifier,
    /// Its optimizer, with state for every parameter after the first step.
    pub optimizer: ModuleOptimizer,
    device: Device,
}

impl Learner {
    /// Fresh weights from `seed`, on `device`.
    ///
    /// # Errors
    /// [`TrainError::Model`].
    pub fn new(
        model: &ModelConfig,
        optimizer: &OptimizerConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let network = ShuffleNetV2::new(model, seed, &device)?;
        Ok(Self {
            classifier: Classifier { network },
            optimizer: optimizer::build(optimizer),
            device,
        })
    }

    /// Forward, backward and, unless the loss is no longer a number, one step of the optimizer at
    /// that rate. Returns the batch's sums.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn step(&mut self, batch: Batch, rate: f64) -> Result<Tally, TrainError> {
        let labels = batch.labels.clone();
        let images = Images::new(batch, &self.device);
        let output = TrainStep::step(&self.classifier, images);
        let mut tally = Tally::default();
        tally.add(&output.item.to_host()?, &labels);
        if tally.loss.is_finite() {
            let classifier = self.classifier.clone();
            self.classifier = self.optimizer.step(rate, classifier, output.grads);
        }
        Ok(tally)
    }
}
