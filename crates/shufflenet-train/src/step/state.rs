//! The state that training steps change, and its conversion to a checkpoint and back.
//!
//! Everything else in a run follows from the experiment and the data ([`crate::run::context::Run`]), and every random
//! choice from the seed and the step.

use std::rc::Rc;

use burn::module::Module;
use burn::tensor::Device;
use safetensors::SafeTensors;
use shufflenet_model::{ShuffleNetV2, load_safetensors, to_safetensors};

use crate::checkpoint::description::Description;
use crate::checkpoint::{Checkpoint, Progress};
use crate::cluster::Cluster;
use crate::error::TrainError;
use crate::experiment::Experiment;
use crate::step::fine_tune;
use crate::step::learner::{Learner, LearnerConfig, Peers};

/// A run between two steps.
pub struct State {
    /// Weights, their average, the optimizer's state.
    pub learner: Learner,
    /// Progress of the run.
    pub progress: Progress,
}

impl State {
    /// The start of a run, and lines to print.
    ///
    /// # Errors
    /// [`TrainError::Model`], [`TrainError::Value`]; those of a checkpoint to start from.
    pub fn fresh(
        experiment: &Experiment,
        description: &Description,
        device: &Device,
        cluster: &Rc<Cluster>,
    ) -> Result<(Self, Vec<String>), TrainError> {
        let network = initial(experiment, device)?;
        let (network, notes) = fine_tune::load(&experiment.fine_tune, description, network)?;
        let learner = learner(experiment, network, device, cluster)?;
        let progress = Progress::default();
        Ok((Self { learner, progress }, notes))
    }

    /// The state in `checkpoint`.
    ///
    /// # Errors
    /// In words: weights or optimizer state of another network.
    pub fn restore(
        experiment: &Experiment,
        device: &Device,
        cluster: &Rc<Cluster>,
        checkpoint: &Checkpoint,
    ) -> Result<Self, String> {
        let in_words = |error: TrainError| error.to_string();
        let load = |network: ShuffleNetV2, bytes: &[u8]| {
            load_safetensors(network, bytes).map_err(|error| error.to_string())
        };
        let network = initial(experiment, device).map_err(in_words)?;
        let network = load(network, &checkpoint.weights)?;
        let mut learner = learner(experiment, network, device, cluster).map_err(in_words)?;
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

    /// The weights, as a safetensors file.
    ///
    /// # Errors
    /// [`TrainError::Encode`].
    pub fn weights(&self) -> Result<Vec<u8>, TrainError> {
        encoded(&self.learner.classifier.network)
    }

    /// The state as a checkpoint.
    ///
    /// # Errors
    /// [`TrainError::Encode`].
    pub fn checkpoint(&self, description: &Description) -> Result<Checkpoint, TrainError> {
        let Learner {
            optimizer, average, ..
        } = &self.learner;
        let optimizer = optimizer.to_safetensors();
        Ok(Checkpoint {
            weights: self.weights()?,
            average: average.as_ref().map(encoded).transpose()?,
            optimizer: optimizer.map_err(|message| TrainError::Encode {
                what: "the optimizer's state",
                message,
            })?,
            progress: self.progress.clone(),
            description: description.clone(),
        })
    }
}

/// `network` as a safetensors file.
fn encoded(network: &ShuffleNetV2) -> Result<Vec<u8>, TrainError> {
    to_safetensors(network).map_err(|error| TrainError::Encode {
        what: "the weights",
        message: error.to_string(),
    })
}

/// A learner before the first step of `network`.
fn learner(
    experiment: &Experiment,
    network: ShuffleNetV2,
    device: &Device,
    cluster: &Rc<Cluster>,
) -> Result<Learner, TrainError> {
    let network = fine_tune::freeze(&experiment.fine_tune, network)?;
    let device = device.clone().autodiff();
    let peers = Peers::of(cluster, experiment.cluster.sync_batch_norm);
    Learner::new(network, LearnerConfig::of(experiment), &device, peers)
}

/// A network for training, with weights drawn from the seed.
fn initial(experiment: &Experiment, device: &Device) -> Result<ShuffleNetV2, TrainError> {
    let device = device.clone().autodiff();
    let seed = experiment.train.seed;
    Ok(ShuffleNetV2::new(&experiment.model, seed, &device)?)
}

/// The name of the first tensor with an infinity or NaN. `None`: all are finite.
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

/// Whether all of these little-endian float32 numbers are finite.
fn is_finite(bytes: &[u8]) -> bool {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().all(|x| f32::from_le_bytes(*x).is_finite())
}
