//! All that a step of training changes, to a checkpoint and back.
//!
//! What is not here does not change from step to step: it follows from the experiment and the data
//! ([`crate::run::Run`]), and every random choice from the seed and the step.

use burn::module::Module;
use burn::tensor::Device;
use safetensors::SafeTensors;
use shufflenet_model::{ShuffleNetV2, load_safetensors, parameters, to_safetensors};

use crate::checkpoint::{Checkpoint, Description, Progress};
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::learner::Learner;
use crate::optimizer;

/// A run between two steps.
pub struct State {
    /// Weights, their average, the optimizer's state.
    pub learner: Learner,
    /// How far it has come.
    pub progress: Progress,
}

impl State {
    /// The start of a run.
    ///
    /// # Errors
    /// [`TrainError::Model`].
    pub fn fresh(experiment: &Experiment, device: &Device) -> Result<Self, TrainError> {
        let (model, train) = (&experiment.model, &experiment.train);
        let mut learner = Learner::new(model, &experiment.optimizer, train.seed, device)?;
        learner.average_decay = train.ema_decay;
        Ok(Self {
            learner,
            progress: Progress::default(),
        })
    }

    /// Where `checkpoint` stood.
    ///
    /// # Errors
    /// In words: weights or state that are not this network's.
    pub fn restore(
        experiment: &Experiment,
        device: &Device,
        checkpoint: &Checkpoint,
    ) -> Result<Self, String> {
        let Self { mut learner, .. } =
            Self::fresh(experiment, device).map_err(|error| error.to_string())?;
        let load = |network: ShuffleNetV2, bytes: &[u8]| {
            load_safetensors(network, bytes).map_err(|error| error.to_string())
        };
        learner.classifier.network = load(learner.classifier.network, &checkpoint.weights)?;
        let average = checkpoint.average.as_deref();
        let like = learner.classifier.network.valid();
        learner.average = average.map(|bytes| load(like, bytes)).transpose()?;
        let names = parameters(&learner.classifier.network);
        learner.optimizer =
            optimizer::load_safetensors(learner.optimizer, &checkpoint.optimizer, &names)
                .map_err(|error| format!("optimizer state: {error}"))?;
        Ok(Self {
            learner,
            progress: checkpoint.progress.clone(),
        })
    }

    /// All of it.
    ///
    /// # Errors
    /// [`TrainError::Encode`].
    pub fn checkpoint(&self, description: &Description) -> Result<Checkpoint, TrainError> {
        let Learner {
            classifier,
            optimizer,
            average,
            ..
        } = &self.learner;
        let encode = |what: &'static str, message: String| TrainError::Encode { what, message };
        let weights = |network| {
            to_safetensors(network).map_err(|error| encode("the weights", error.to_string()))
        };
        let names = parameters(&classifier.network);
        Ok(Checkpoint {
            weights: weights(&classifier.network)?,
            average: average.as_ref().map(weights).transpose()?,
            optimizer: optimizer::to_safetensors(optimizer, &names)
                .map_err(|error| encode("the optimizer's state", error))?,
            progress: self.progress.clone(),
            description: description.clone(),
        })
    }
}

/// The name of a tensor that has an infinity or NaN in it, where there is one.
pub fn not_finite(checkpoint: &Checkpoint) -> Option<String> {
    let files = [&checkpoint.weights, &checkpoint.optimizer];
    let mut files = files.into_iter().chain(checkpoint.average.as_ref());
    files.find_map(|file| {
        let tensors = SafeTensors::deserialize(file).ok()?;
        let mut tensors = tensors.iter();
        let (name, _) = tensors.find(|(_, view)| !is_finite(view.data()))?;
        Some(name.to_string())
    })
}

/// Whether little-endian float32 numbers all are.
fn is_finite(bytes: &[u8]) -> bool {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().all(|x| f32::from_le_bytes(*x).is_finite())
}
