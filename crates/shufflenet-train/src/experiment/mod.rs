//! An experiment, which is one TOML file: the network, the data and the recipe.
//!
//! The default of every key is only in the struct that declares the key, here or in the module of its section.
//! `docs/configuration.md` is generated from these structs, and a configuration file has only the keys that differ from
//! it. A run folder keeps the resolved experiment with every key. Training that file again repeats the run. [`settings`]
//! reads files and `--set`.

pub mod compare;
mod layers;
mod ranges;
pub mod settings;
pub mod summary;
pub(crate) mod syntax;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shufflenet_data::{Augmentation, Check, Format, Normalization, Options};
use shufflenet_model::{ModelConfig, Precision};

use crate::cluster::config::ClusterConfig;
use crate::error::{TrainError, require};
use crate::evaluation::tally::Criterion;
use crate::recipe::class_weights::ClassWeights;
use crate::recipe::distill::Distill;
use crate::recipe::fine_tune::FineTune;
use crate::recipe::loss::LossConfig;
use crate::recipe::optimizer::OptimizerConfig;
use crate::recipe::progressive::{self, Stage};
use crate::recipe::schedule::{Schedule, ScheduleConfig};

/// An experiment, the content of one configuration file. Its name stands before the sections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Name of the run; its folder is `runs/NAME`. Default: the configuration file's name.
    #[serde(default)]
    pub name: String,
    /// The network.
    #[serde(default)]
    pub model: ModelConfig,
    /// The images.
    pub data: DataConfig,
    /// Length, batch size and seed.
    #[serde(default)]
    pub train: TrainConfig,
    /// What is minimised.
    #[serde(default)]
    pub loss: LossConfig,
    /// A network that teaches this one. Unset: only the labels do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distill: Option<Distill>,
    /// How a gradient moves the weights.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Weights to start from, parts to leave alone.
    #[serde(default)]
    pub fine_tune: FineTune,
    /// What is kept on disk.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// How several processes train it together.
    #[serde(default)]
    pub cluster: ClusterConfig,
}

/// Where the images are and how they reach the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// `cifar10`, `cifar100`, `idx`, `folder`, `manifest`, `parquet` or `synthetic`; see `data/README.md`.
    pub format: Format,
    /// Folder (or official archive, or list) that holds the set; `~` is the home folder.
    pub root: PathBuf,
    /// How the format is read: image size, bad images, divisions.
    #[serde(default)]
    pub options: Options,
    /// How images are checked before the first step: `decode` decodes each once, and later starts only those that
    /// changed; `headers` reads the header of each, for sets too large to decode.
    #[serde(default)]
    pub check: Check,
    /// Fraction of the training images that is held out, 0 to below 1. The best epoch is chosen on these images. The
    /// division is stratified: each class gives this fraction of its images. 0: none are held out, and the validation
    /// part of the data chooses, or else the test set.
    #[serde(default)]
    pub validation: f64,
    /// Seed that chooses the held-out images. Runs of several seeds hold out the same images if they have the same
    /// `validation_seed`. Unset: `train.seed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_seed: Option<u64>,
    /// Number of records of the training part to train on, the first ones (after `validation` is taken out).
    /// Unset: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Pixels are scaled to 0..1, then normalised per channel by these. Unset: measured on the
    /// records trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalization: Option<Normalization>,
    /// Random changes to training images.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// Threads that prepare batches ahead, two each; 0: the training thread makes each when it needs it.
    /// Changes no batch.
    #[serde(default = "one_worker")]
    pub workers: usize,
}

fn one_worker() -> usize {
    1
}

/// How long to train, in what batches, from which seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training records.
    pub epochs: usize,
    /// Number of steps after which training stops, even within an epoch. Unset: `epochs` decides. The schedule
    /// ends with whichever comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    /// Images that go through the network at once.
    pub batch_size: usize,
    /// Batches per optimizer step, which follows the mean gradient over all their images: the batch for
    /// the optimizer is `accumulate` times as large, in the memory of one. Batch norm sees each batch for
    /// itself. The last step of an epoch takes the batches that remain.
    pub accumulate: usize,
    /// Keep a moving average of the weights and running statistics, `average = d average + (1 - d) w`
    /// after each step, and choose the best epoch by it ([`crate::recipe::average`]). Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// Number of epochs in a row without a new best (`checkpoint.best_by`) after which training stops.
    /// Unset: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Number of epochs from one evaluation to the next. The run's end is always evaluated. Only evaluated epochs
    /// can be the best. 0: at the run's end alone, so that no epoch is chosen by its evaluation.
    pub evaluate_every: usize,
    /// Smaller images in early epochs, which cost less: `[{ until_epoch = 10, size = 24 }]`, in ascending order
    /// ([`crate::recipe::progressive`]).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub progressive: Vec<Stage>,
    /// Type of stored activations and their gradients in training: `f32`, or `bf16` (bfloat16). `bf16` halves their
    /// bytes, which makes a step faster and takes less memory. Sums are float32 either way, and so are weights, the
    /// optimizer's state, running statistics, logits, evaluation and checkpoints. Products are float32, except on
    /// processors that multiply bfloat16 faster: in the tile registers of AMX, and by AVX512-BF16 on AMD's.
    /// A unit with squeeze-and-excitation or with a frozen batch norm computes in float32 as a whole, and so do parts with
    /// an odd number of channels on a GPU. `bf16` needs `--device flex` or a GPU.
    pub precision: Precision,
    /// Whether to drop an epoch's last batch if it is smaller than `batch_size`.
    pub drop_last: bool,
    /// Seed of everything random: initial weights, order, augmentation, dropout, the held-out part. `train --seeds 1,2,3`
    /// trains once from each of several.
    pub seed: u64,
    /// Number of steps from one line of `metrics.jsonl` to the next. 0: only at each epoch's end.
    pub log_every: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 200,
            max_steps: None,
            batch_size: 256,
            accumulate: 1,
            ema_decay: None,
            patience: None,
            evaluate_every: 1,
            progressive: Vec::new(),
            precision: Precision::F32,
            drop_last: false,
            seed: 0,
            log_every: 50,
        }
    }
}

/// When checkpoints are written, besides the end of each epoch and an interruption, and which are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Number of steps from one checkpoint to the next. 0: steps do not matter.
    pub every_steps: usize,
    /// Minutes from one checkpoint to the next; fractions are allowed. 0: time does not matter.
    pub every_minutes: f64,
    /// Number of the newest checkpoints that are kept, at least 1. With 2, a run can resume if the newest is damaged.
    /// The best checkpoint is always kept.
    pub keep: usize,
    /// Measure that chooses the best epoch, on the held-out part. If two epochs are equal, the lower loss decides.
    pub best_by: Criterion,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every_steps: 0,
            every_minutes: 10.0,
            keep: 2,
            best_by: Criterion::Top1,
        }
    }
}

impl Experiment {
    /// The part of the data that chooses the best epoch by the configuration alone, `validation` or `test`. `None`:
    /// only the last epoch is evaluated. Whether the data has a validation part is not considered.
    pub fn chosen_by(&self) -> Option<&'static str> {
        match (self.train.evaluate_every, self.data.validation) {
            (0, _) => None,
            (_, 0.0) => Some("test"),
            _ => Some("validation"),
        }
    }

    /// Seed that chooses the held-out images.
    pub fn validation_seed(&self) -> u64 {
        self.data.validation_seed.unwrap_or(self.train.seed)
    }

    /// The schedule on a training set of `batches` batches.
    pub fn schedule(&self, batches: usize) -> Schedule {
        let train = &self.train;
        let steps_per_epoch = batches.div_ceil(train.accumulate);
        let all_epochs = steps_per_epoch.saturating_mul(train.epochs);
        let total = train.max_steps.unwrap_or(all_epochs).min(all_epochs);
        let peak = self.optimizer.learning_rate;
        Schedule::new(&self.schedule, peak, steps_per_epoch, total)
    }

    /// Checks that values of the right type are also in range.
    ///
    /// # Errors
    /// [`TrainError::Value`] with the key, what was found and what is accepted.
    pub fn check(&self) -> Result<(), TrainError> {
        let name_is_one_folder = !self.name.is_empty()
            && !self.name.starts_with('.')
            && !self.name.contains(['/', '\\', '\0']);
        require(
            name_is_one_folder,
            "name",
            &self.name,
            "the name of one folder",
        )?;
        let data = &self.data;
        require(
            !data.root.as_os_str().is_empty(),
            "data.root",
            "\"\"",
            "the folder, list or archive of the data",
        )?;
        let fraction = (0.0..1.0).contains(&data.validation);
        require(
            fraction,
            "data.validation",
            data.validation,
            "a fraction from 0 to below 1",
        )?;
        if let Some(seed) = data.validation_seed
            && data.validation == 0.0
        {
            return Err(TrainError::Value {
                key: "data.validation_seed".into(),
                found: format!("{seed}, and data.validation is 0"),
                accepted: "a seed together with data.validation".into(),
            });
        }
        at_least_one("data.limit", data.limit.unwrap_or(1))?;
        at_least_one("train.epochs", self.train.epochs)?;
        at_least_one("train.max_steps", self.train.max_steps.unwrap_or(1))?;
        at_least_one("train.batch_size", self.train.batch_size)?;
        at_least_one("train.accumulate", self.train.accumulate)?;
        at_least_one("train.patience", self.train.patience.unwrap_or(1))?;
        if let Some(decay) = self.train.ema_decay {
            let fraction = (0.0..1.0).contains(&decay);
            require(
                fraction,
                "train.ema_decay",
                decay,
                "a number from 0 to below 1",
            )?;
        }
        progressive::check(&self.train.progressive)?;
        at_least_one("checkpoint.keep", self.checkpoint.keep)?;
        let minutes = self.checkpoint.every_minutes;
        require(
            (0.0..1e6).contains(&minutes),
            "checkpoint.every_minutes",
            minutes,
            "a number from 0 to below a million",
        )?;
        require(
            data.workers <= MOST_WORKERS,
            "data.workers",
            data.workers,
            "a whole number from 0 to 64",
        )?;
        data.options.check()?;
        data.augmentation.check_values()?;
        self.cluster.check()?;
        // Without a number of classes, the weights are checked when the data is opened.
        let weights = match &self.loss.class_weights {
            Some(ClassWeights::Given(weights)) => Some(weights.len()),
            _ => None,
        };
        let classes = self.model.classes.or(weights);
        self.loss.check(classes.unwrap_or(self.model.classes()))?;
        if let Some(distill) = &self.distill {
            distill.check(self.train.epochs)?;
        }
        self.optimizer.check()?;
        self.schedule.check()
    }
}

/// Largest number of loader threads. More threads do not help, and a typing error must not start a million.
const MOST_WORKERS: usize = 64;

fn at_least_one(key: &'static str, value: usize) -> Result<(), TrainError> {
    require(value >= 1, key, value, "a whole number from 1")
}
