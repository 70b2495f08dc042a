//! The network with its optimizer, and the step that both training and benchmarks take.
//!
//! The device decides when a divergence is detected. On the CPU, loss and gradients are checked in every step before
//! the weights change. The host does not wait for a GPU. There a loss is checked when it is read ([`PendingLogits`]),
//! at most [`MOST_PENDING`](crate::step::pending_logits::MOST_PENDING) batches late. A NaN gradient makes the weights
//! NaN, and so the next loss. This damages no checkpoint, because a checkpoint is written only after every loss was
//! read, and never with a NaN in it.

use std::rc::Rc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn::train::TrainStep;
use shufflenet_model::subnormals::flushed;
use shufflenet_model::{ModelConfig, Precision, ShuffleNetV2, ranks};

use crate::cluster::Cluster;
use crate::device::{self, launches};
use crate::error::TrainError;
use crate::evaluation::tally::Tally;
use crate::experiment::Experiment;
use crate::experiment::compare::PRECISION;
use crate::recipe::average;
use crate::recipe::loss::LossConfig;
use crate::recipe::optimizer::gradients::Gradients;
use crate::recipe::optimizer::{Optimizer, OptimizerConfig, Rates};
use crate::step::classifier::{Classifier, Images, MicroBatch};
use crate::step::pending_logits::PendingLogits;

/// Settings of a learner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LearnerConfig {
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The loss.
    pub loss: LossConfig,
    /// Decay of the moving average of the weights ([`crate::recipe::average`]). `None`: no average is kept.
    pub average_decay: Option<f64>,
    /// Type of the stored activations and their gradients.
    pub precision: Precision,
}

impl LearnerConfig {
    /// The settings of an experiment.
    pub fn of(experiment: &Experiment) -> Self {
        let mut optimizer = experiment.optimizer.clone();
        // The optimizer keeps a velocity if any step has a momentum.
        if let Some(largest) = experiment.schedule.largest_momentum() {
            optimizer.momentum = largest;
        }
        Self {
            optimizer,
            loss: experiment.loss.clone(),
            average_decay: experiment.train.ema_decay,
            precision: experiment.train.precision,
        }
    }
}

impl From<OptimizerConfig> for LearnerConfig {
    /// Plain cross-entropy, and no moving average.
    fn from(optimizer: OptimizerConfig) -> Self {
        Self {
            optimizer,
            ..Self::default()
        }
    }
}

/// Other ranks, which take every step together with this one.
pub struct Peers {
    cluster: Rc<Cluster>,
    /// The sum of batch norms over all ranks. `None`: each rank's norms use its own images.
    norms: Option<ranks::Sum>,
}

impl Peers {
    /// The other ranks of `cluster`. `None`: there is no other rank.
    pub fn of(cluster: &Rc<Cluster>, sync_batch_norm: bool) -> Option<Self> {
        let over_all = cluster.clone();
        let norms: ranks::Sum = Rc::new(move |values| over_all.sum(values));
        (!cluster.is_alone()).then(|| Self {
            cluster: cluster.clone(),
            norms: sync_batch_norm.then_some(norms),
        })
    }
}

/// The network, its optimizer and its moving average: the tensors that a step changes.
pub struct Learner {
    /// The network, on an autodiff device.
    pub classifier: Classifier,
    /// The optimizer of the network. It has state for every parameter after the first step.
    pub optimizer: Optimizer,
    /// The moving average of the network, for inference. `None` before the first step, or without an average.
    pub average: Option<ShuffleNetV2>,
    loss: LossConfig,
    average_decay: Option<f64>,
    device: Device,
    pending: PendingLogits,
    peers: Option<Peers>,
}

impl Learner {
    /// A network with initial weights drawn from `seed`, on `device`, in a process that trains alone.
    ///
    /// # Errors
    /// [`TrainError::Model`], and those of [`Self::new`].
    pub fn fresh(
        model: &ModelConfig,
        config: impl Into<LearnerConfig>,
        seed: u64,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let network = ShuffleNetV2::new(model, seed, &device)?;
        Self::new(network, config.into(), &device, None)
    }

    /// The given network, which is on the autodiff device `device`, before its first step.
    ///
    /// # Errors
    /// [`TrainError::Value`]: a pattern in `optimizer.parts` that no parameter has, or a precision that the device
    /// does not have.
    pub fn new(
        network: ShuffleNetV2,
        config: LearnerConfig,
        device: &Device,
        peers: Option<Peers>,
    ) -> Result<Self, TrainError> {
        device::require_precision(PRECISION, config.precision, device)?;
        let network = network.with_precision(config.precision);
        let mut pending = PendingLogits::on(device);
        if peers.is_some() {
            pending.read_at_once();
        }
        Ok(Self {
            optimizer: Optimizer::new(&config.optimizer, &network)?,
            classifier: Classifier { network },
            average: None,
            loss: config.loss,
            average_decay: config.average_decay,
            device: device.clone(),
            pending,
            peers,
        })
    }

    /// One step of the optimizer at these rates, by the mean gradient over all images of `parts`. Each part has its own
    /// forward and backward pass, and its own statistics of batch norm. Subnormal numbers are treated as zero
    /// ([`shufflenet_model::subnormals`]), except while `parts` makes the images.
    ///
    /// Returns loss and accuracy of the images whose logits were read. On the CPU these are the images of the step.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] (on the CPU the weights are then unchanged); [`TrainError::Device`]; an error that `parts`
    /// gives instead of images.
    pub fn step(
        &mut self,
        parts: impl IntoIterator<Item = Result<MicroBatch, TrainError>>,
        rates: impl Into<Rates>,
    ) -> Result<Tally, TrainError> {
        let mut sum: Option<Gradients> = None;
        for part in parts {
            let part = part?;
            sum = Some(flushed(|| {
                let gradients = self.gradients(part);
                match sum.take() {
                    Some(others) => others.plus(gradients),
                    None => gradients,
                }
            }));
        }
        flushed(|| self.descend(sum.unwrap_or_default(), rates.into()))
    }

    /// Forward and backward of a part of a step's images.
    fn gradients(&mut self, part: MicroBatch) -> Gradients {
        let classes = self.classifier.network.config().classes();
        let (labels, bytes) = (part.batch.labels.clone(), size_of_val(&*part.batch.pixels));
        launches::part("images");
        let images = Images::new(part, &self.loss, classes, &self.device);
        let pass = || TrainStep::step(&self.classifier, images);
        let output = match self.peers.as_ref().and_then(|peers| peers.norms.clone()) {
            Some(norms) => ranks::summed_by(norms, pass),
            None => pass(),
        };
        self.pending.push(output.item, labels, bytes);
        Gradients::of(&self.classifier, output.grads)
    }

    /// Updates the weights and their average by the gradients of a step.
    fn descend(&mut self, mut gradients: Gradients, rates: Rates) -> Result<Tally, TrainError> {
        let mut tally = Tally::default();
        if !self.pending.may_wait() {
            tally = self.read()?;
            if let Some(Peers { cluster, norms }) = &self.peers {
                // This comes before any check, so that all ranks check the same sums, and continue or stop together.
                tally = cluster.sum_tally(tally);
                gradients = cluster.sum_gradients(gradients)?;
                if norms.is_none() {
                    let classifier = self.classifier.clone();
                    self.classifier = cluster.average_statistics(classifier)?;
                }
            }
            require_finite_loss(&tally, "the loss")?;
            require_finite_gradients(&gradients)?;
        }
        launches::part("optimizer");
        let classifier = self.classifier.clone();
        self.classifier = self.optimizer.step(rates, classifier, gradients);
        if let Some(decay) = self.average_decay {
            launches::part("average");
            let network = self.classifier.network.valid();
            self.average = Some(match self.average.take() {
                Some(average) => average::follow(average, &network, decay),
                None => network,
            });
        }
        match self.pending.may_wait() && self.pending.is_due() {
            true => self.settle(),
            false => Ok(tally),
        }
    }

    /// Reads the logits that are still on the device. Then every image of the steps taken is counted.
    ///
    /// # Errors
    /// [`TrainError::Diverged`], [`TrainError::Device`].
    pub fn settle(&mut self) -> Result<Tally, TrainError> {
        let tally = self.read()?;
        require_finite_loss(&tally, "a loss (a GPU's are read some steps late)")?;
        Ok(tally)
    }

    fn read(&mut self) -> Result<Tally, TrainError> {
        let mut tally = Tally::default();
        self.pending.read_into(&mut tally)?;
        Ok(tally)
    }

    /// Whether the device has a queue, so that logits may be pending on it.
    pub fn may_wait(&self) -> bool {
        self.pending.may_wait()
    }
}

fn require_finite_loss(tally: &Tally, name: &str) -> Result<(), TrainError> {
    match tally.loss.is_finite() {
        true => Ok(()),
        false => Err(TrainError::diverged(name)),
    }
}

/// Refuses a gradient with an infinity or NaN, whose sum of values is then infinite or NaN. (The sum of finite values
/// may also exceed float32, and a run cannot continue with such gradients.) The sums of all parameters are read from
/// the device at once.
fn require_finite_gradients(gradients: &Gradients) -> Result<(), TrainError> {
    let sums: Vec<Tensor<1>> = gradients.rows().iter().cloned().map(Tensor::sum).collect();
    let sums = Tensor::cat(sums, 0).try_into_data()?;
    match sums.iter::<f32>().all(f32::is_finite) {
        true => Ok(()),
        false => Err(TrainError::diverged("a gradient")),
    }
}
