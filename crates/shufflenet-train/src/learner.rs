//! The network with its optimizer, and the one step that training and benchmarks both take.
//!
//! When divergence is noticed depends on the device. On the CPU loss and gradients are looked at before
//! the weights move, in every step. On a GPU, which is not to be waited for, the loss is looked at when
//! it is read ([`crate::unread`]), at most
//! [`MOST_UNREAD`](crate::unread::MOST_UNREAD) batches late: a gradient that is no number
//! leaves weights, and so a next loss, that are none. Nothing is lost by it, since no checkpoint is
//! written before all is read, nor ever with a number in it that is none.

use std::rc::Rc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use burn::train::TrainStep;
use shufflenet_data::Batch;
use shufflenet_model::subnormals::flushed;
use shufflenet_model::{ModelConfig, ShuffleNetV2, ranks};

use crate::average;
use crate::classifier::{Classifier, Images};
use crate::cluster::Cluster;
use crate::error::TrainError;
use crate::experiment::{LossConfig, OptimizerConfig};
use crate::optimizer::{Optimizer, Rates};
use crate::tally::Tally;
use crate::unread::Unread;

/// What a step of training changes.
pub struct Learner {
    /// The network, on an autodiff device.
    pub classifier: Classifier,
    /// Its optimizer, with state for every parameter after the first step.
    pub optimizer: Optimizer,
    /// What it minimises; plain cross-entropy, unless told otherwise.
    pub loss: LossConfig,
    /// The moving average of the network, for classifying, once a step was taken; see
    /// [`crate::average`].
    pub average: Option<ShuffleNetV2>,
    /// The decay of that average. `None`: there is none.
    pub average_decay: Option<f64>,
    device: Device,
    unread: Unread,
    peers: Option<Peers>,
}

/// Other ranks, which take the same steps.
struct Peers {
    cluster: Rc<Cluster>,
    /// How batch norms are summed over them, where they are.
    norms: Option<ranks::Sum>,
}

/// A part of the images of an optimizer step.
pub struct MicroBatch {
    /// The images.
    pub batch: Batch,
    /// Their share of the step's images, 0 to 1: gradients are means over all of them.
    pub share: f64,
    /// What dropout multiplies the pooled features by, `[images, features]` row after row.
    pub mask: Option<Vec<f32>>,
    /// The shorter side that the network sees them with ([`crate::progressive`]); `None`: their own.
    pub size: Option<usize>,
}

impl From<Batch> for MicroBatch {
    /// All images of a step. Dropout, where configured, is the network's own, not one of a seed.
    fn from(batch: Batch) -> Self {
        Self {
            batch,
            share: 1.0,
            mask: None,
            size: None,
        }
    }
}

/// How a step ended, or the steps that were read at last.
pub enum Stepped {
    /// The weights have moved. The sums are of the images whose logits were read: on the CPU those of
    /// the step.
    Taken(Tally),
    /// This is infinite or no number. On the CPU the weights have not moved.
    Diverged(&'static str),
}

impl Learner {
    /// Fresh weights from `seed`, on `device`.
    ///
    /// # Errors
    /// [`TrainError::Model`], and as [`Self::of`].
    pub fn new(
        model: &ModelConfig,
        optimizer: &OptimizerConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let device = device.clone().autodiff();
        let network = ShuffleNetV2::new(model, seed, &device)?;
        Self::of(network, optimizer, &device)
    }

    /// That network, which is on the autodiff device `device`, before its first step.
    ///
    /// # Errors
    /// [`TrainError::Value`]: a part of the optimizer's that no parameter belongs to.
    pub fn of(
        network: ShuffleNetV2,
        optimizer: &OptimizerConfig,
        device: &Device,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            optimizer: Optimizer::new(optimizer, &network)?,
            classifier: Classifier { network },
            loss: LossConfig::default(),
            average: None,
            average_decay: None,
            unread: Unread::on(device),
            device: device.clone(),
            peers: None,
        })
    }

    /// From now on every step is taken together with the other ranks of `cluster`, on all their images.
    pub fn join(&mut self, cluster: &Rc<Cluster>, sync_batch_norm: bool) {
        if cluster.is_alone() {
            return;
        }
        let over_all = cluster.clone();
        let norms: ranks::Sum = Rc::new(move |values| over_all.sum(values));
        self.peers = Some(Peers {
            cluster: cluster.clone(),
            norms: sync_batch_norm.then_some(norms),
        });
        self.unread.read_at_once();
    }

    /// One step of the optimizer at these rates, by the mean gradient over all images of `parts`, which go
    /// forward and backward one part after the other. Batch norm sees each part for itself. Subnormal numbers are
    /// taken for zero ([`shufflenet_model::subnormals`]), while `parts` makes its images as the caller computes.
    ///
    /// # Errors
    /// [`TrainError::Device`], and what `parts` gives instead of images.
    pub fn step(
        &mut self,
        parts: impl IntoIterator<Item = Result<MicroBatch, TrainError>>,
        rates: impl Into<Rates>,
    ) -> Result<Stepped, TrainError> {
        let mut gradients = GradientsAccumulator::new();
        for part in parts {
            let part = part?;
            flushed(|| self.accumulate(part, &mut gradients));
        }
        flushed(|| self.descend(gradients.grads(), rates.into()))
    }

    /// Forward and backward of a part of a step's images, whose gradients are added to `gradients`.
    fn accumulate(&mut self, part: MicroBatch, gradients: &mut GradientsAccumulator<Classifier>) {
        let classes = self.classifier.network.config().classes;
        let (labels, bytes) = (part.batch.labels.clone(), size_of_val(&*part.batch.pixels));
        let images = Images::new(part, &self.loss, classes, &self.device);
        let pass = || TrainStep::step(&self.classifier, images);
        let output = match self.peers.as_ref().and_then(|peers| peers.norms.clone()) {
            Some(norms) => ranks::summed_by(norms, pass),
            None => pass(),
        };
        self.unread.push(output.item, labels, bytes);
        gradients.accumulate(&self.classifier, output.grads);
    }

    /// Moves the weights, and their average, by the gradients of a step.
    fn descend(
        &mut self,
        mut gradients: GradientsParams,
        rates: Rates,
    ) -> Result<Stepped, TrainError> {
        let mut stepped = Stepped::Taken(Tally::default());
        if !self.unread.may_wait() {
            let mut tally = self.read()?;
            if let Some(Peers { cluster, norms }) = &self.peers {
                // Before anybody looks: all see the same, and go on or end together.
                tally = cluster.sum_tally(tally);
                gradients = cluster.sum_gradients(&self.classifier, gradients)?;
                if norms.is_none() {
                    let classifier = self.classifier.clone();
                    self.classifier = cluster.average_statistics(classifier)?;
                }
            }
            stepped = self.judged(tally);
            if matches!(stepped, Stepped::Taken(_)) && !are_finite(&self.classifier, &gradients)? {
                stepped = Stepped::Diverged("a gradient");
            }
            if matches!(stepped, Stepped::Diverged(_)) {
                return Ok(stepped);
            }
        }
        let classifier = self.classifier.clone();
        self.classifier = self.optimizer.step(rates, classifier, gradients);
        if let Some(decay) = self.average_decay {
            let network = self.classifier.network.valid();
            self.average = Some(match self.average.take() {
                Some(average) => average::follow(average, &network, decay),
                None => network,
            });
        }
        match self.unread.may_wait() && self.unread.is_due() {
            true => self.settle(),
            false => Ok(stepped),
        }
    }

    /// Reads what is still on the device: after it, every image of the steps taken has been counted.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn settle(&mut self) -> Result<Stepped, TrainError> {
        let tally = self.read()?;
        Ok(self.judged(tally))
    }

    fn read(&mut self) -> Result<Tally, TrainError> {
        let mut tally = Tally::default();
        self.unread.read_into(&mut tally)?;
        Ok(tally)
    }

    fn judged(&self, tally: Tally) -> Stepped {
        match (tally.loss.is_finite(), self.unread.may_wait()) {
            (true, _) => Stepped::Taken(tally),
            (false, false) => Stepped::Diverged("the loss"),
            (false, true) => Stepped::Diverged("a loss (a GPU's are read some steps late)"),
        }
    }

    /// Whether steps wait on the device to be counted.
    pub fn may_wait(&self) -> bool {
        self.unread.may_wait()
    }
}

/// Whether every gradient is a number: a sum with an infinity or NaN in it is none. (Nor is one of numbers
/// beyond float32 together, with which no run goes on either.) The sums of all parameters come back from
/// the device in one piece.
fn are_finite(classifier: &Classifier, gradients: &GradientsParams) -> Result<bool, TrainError> {
    struct Sums<'a> {
        gradients: &'a GradientsParams,
        sums: Vec<Tensor<1>>,
    }
    impl ModuleVisitor for Sums<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                self.sums.push(gradient.sum());
            }
        }
    }
    let mut visitor = Sums {
        gradients,
        sums: Vec::new(),
    };
    classifier.visit(&mut visitor);
    let sums = Tensor::cat(visitor.sums, 0).try_into_data()?;
    Ok(sums.iter::<f32>().all(f32::is_finite))
}
