//! All that a step of training changes, to a checkpoint and back.
//!
//! What is not here does not change from step to step: it follows from the experiment and the data
//! ([`crate::run::Run`]), and every random choice from the seed and the step.

use burn::module::Module;
use burn::tensor::Device;
use safetensors::SafeTensors;
use shufflenet_model::{ShuffleNetV2, load_safetensors, to_safetensors};

use crate::checkpoint::{Checkpoint, Description, Progress};
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::learner::Learner;

/// A run between two steps.
pub struct State {
    /// Weights, their average, the optimizer's state.
    pub learner: Learner,
    /// How far it has come.
    pub progress: Progress,
}

impl State {
    /// The start of a run, and what is to be said about it.
    ///
    /// # Errors
    /// [`TrainError::Model`], [`TrainError::Value`]; of a checkpoint to start from what it refuses.
    pub fn fresh(
        experiment: &Experiment,
        device: &Device,
    ) -> Result<(Self, Vec<String>), TrainError> {
        let network = initial(experiment, device)?;
        let (network, notes) = experiment.fine_tune.load(network)?;
        Ok((Self::of(experiment, network, device)?, notes))
    }

    /// Before the first step of that network.
    fn of(
        experiment: &Experiment,
        network: ShuffleNetV2,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let network = experiment.fine_tune.freeze(network)?;
        let device = device.clone().autodiff();
        let mut learner = Learner::of(network, &experiment.optimizer, &device)?;
        learner.loss = experiment.loss.clone();
        learner.average_decay = experiment.train.ema_decay;
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
        let in_words = |error: TrainError| error.to_string();
        let load = |network: ShuffleNetV2, bytes: &[u8]| {
            load_safetensors(network, bytes).map_err(|error| error.to_string())
        };
        let network = initial(experiment, device).map_err(in_words)?;
        let network = load(network, &checkpoint.weights)?;
        let Self { mut learner, .. } = Self::of(experiment, network, device).map_err(in_words)?;
        let average = checkpoint.average.as_deref();
        let like = learner.classifier.network.valid();
        learner.average = average.map(|bytes| load(like, bytes)).transpose()?;
        let optimizer = learner
            .optimizer
            .load_safetensors(&checkpoint.optimizer, device);
        learner.optimizer = optimizer.map_err(|error| format!("optimizer state: {error}"))?;
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
        Ok(Checkpoint {
            weights: weights(&classifier.network)?,
            average: average.as_ref().map(weights).transpose()?,
            optimizer: optimizer
                .to_safetensors()
                .map_err(|error| encode("the optimizer's state", error))?,
            progress: self.progress.clone(),
            description: description.clone(),
        })
    }
}

/// A network for training, its weights drawn from the seed.
fn initial(experiment: &Experiment, device: &Device) -> Result<ShuffleNetV2, TrainError> {
    let device = device.clone().autodiff();
    let seed = experiment.train.seed;
    Ok(ShuffleNetV2::new(&experiment.model, seed, &device)?)
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
