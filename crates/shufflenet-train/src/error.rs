//! Errors, each in one line that names the file, key or value, what was found and what is accepted.

use std::fmt;
use std::path::{Path, PathBuf};

use shufflenet_data::DataError;
use shufflenet_model::onnx::OnnxError;
use shufflenet_model::{Fit, ModelError, StateDictError, WeightsError};

use crate::divergence::{Divergence, Place};

/// Largest relative difference between a device's training steps and the CPU's. Rounding stays far below it.
pub const DEVICE_TOLERANCE: f64 = 0.05;

/// An error of configuration, training or evaluation.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A configuration file or `--set` that cannot be understood.
    #[error("{origin}: {message}")]
    Config {
        /// File (and line), or the assignment.
        origin: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value of the right type that makes no sense.
    #[error("{key} is {found}; accepted: {accepted}")]
    Value {
        /// Configuration key or flag.
        key: String,
        /// The value given.
        found: String,
        /// What would be accepted.
        accepted: String,
    },
    /// The run folder holds a run already.
    #[error(
        "{} holds a run already: --resume continues it, --force replaces it, --out DIR uses another folder",
        .0.display()
    )]
    RunExists(PathBuf),
    /// A folder that is not a run folder, so that nothing is written into it.
    #[error(
        "{} is not empty and is not a run folder: choose another with --out DIR",
        .0.display()
    )]
    NotARun(PathBuf),
    /// The run of one of several seeds.
    #[error("seed {seed}: {source}")]
    Seed {
        /// The seed.
        seed: u64,
        /// The run's error.
        source: Box<TrainError>,
    },
    /// Another process trains in the folder.
    #[error("{} is in use by another shufflenet process", .0.display())]
    RunLocked(PathBuf),
    /// `--resume` with a configuration that differs from the run's.
    #[error(
        "{}: this run was started with {key} = {old}, now it is {new}; resume with the same \
         configuration, or start another run with --out DIR",
        .run.display()
    )]
    Changed {
        /// The run folder.
        run: PathBuf,
        /// The first key that differs.
        key: String,
        /// Value of the key in the run.
        old: String,
        /// Value of the key now.
        new: String,
    },
    /// Images that cannot be decoded.
    #[error(
        "{first}{}; `data.options.on_bad_image = \"skip\"` leaves such images out, `shufflenet data verify` lists all",
        if *.count > 1 { format!(" (and {} more)", .count - 1) } else { String::new() }
    )]
    BadImages {
        /// What is wrong with the first one.
        first: String,
        /// Number of bad images.
        count: usize,
    },
    /// `--resume` with other data than the run's.
    #[error(
        "{}: the data is not what this run was trained on: {changes}; --accept-changed-data continues with it, \
         --out DIR starts another run",
        .run.display()
    )]
    DataChanged {
        /// The run folder.
        run: PathBuf,
        /// What differs.
        changes: String,
    },
    /// A checkpoint of a format that this version does not know.
    #[error(
        "{} has format {found}, this version reads up to {readable}: use a newer shufflenet",
        .path.display()
    )]
    NewerFormat {
        /// Folder of the checkpoint.
        path: PathBuf,
        /// Format of the checkpoint.
        found: u32,
        /// The newest format that can be read.
        readable: u32,
    },
    /// A checkpoint that is missing or damaged.
    #[error("{}: {message}", .path.display())]
    Checkpoint {
        /// The path looked at.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// An error of the file or folder that a key of the experiment names.
    #[error("{key}: {source}")]
    Named {
        /// The key.
        key: &'static str,
        /// What is wrong.
        source: Box<TrainError>,
    },
    /// The loss, a gradient or a weight is infinite or NaN.
    #[error("{0}")]
    Diverged(Box<Divergence>),
    /// A backend without a driver on this machine.
    #[error("{device}: no adapter was found: {missing}")]
    NoAdapter {
        /// The device asked for.
        device: String,
        /// What the machine may lack.
        missing: &'static str,
    },
    /// An adapter that does not start.
    #[error("{adapter} cannot be used: {message}")]
    Adapter {
        /// Name of the adapter.
        adapter: String,
        /// The backend's words.
        message: String,
    },
    /// A device that computes wrong values.
    #[error(
        "{device} computes wrongly: training steps of a small network moved its weights otherwise than on \
         the CPU, {:.0} % off where {:.0} % is allowed; nothing was trained. Use another adapter (`shufflenet \
         devices --check` tries them all), another driver, or --device flex",
        .error * 100.0, DEVICE_TOLERANCE * 100.0
    )]
    WrongDevice {
        /// Name of the device.
        device: String,
        /// The relative difference.
        error: f64,
    },
    /// `mpirun` started several processes of a binary that cannot send messages.
    #[error(
        "started as one of several processes, but this binary has no MPI: build it with --features mpi, or \
         start one process"
    )]
    NoMpi,
    /// MPI does not start.
    #[error("MPI cannot be used: {0}")]
    Mpi(&'static str),
    /// Another rank failed before training began, and reports the reason.
    #[error("another rank has failed")]
    Elsewhere {
        /// Whether the error of the other rank is a wrong command.
        usage: bool,
    },
    /// One of several ranks has failed while the others go on.
    #[error("rank {rank} ({machine}): {source}")]
    Rank {
        /// The rank.
        rank: usize,
        /// Machine of the rank.
        machine: String,
        /// The rank's error.
        source: Box<TrainError>,
    },
    /// A rank that differs from rank 0.
    #[error(
        "rank {rank} ({machine}): {what} is {here}, on rank 0 it is {there}; it must be the same on all"
    )]
    Differs {
        /// The rank.
        rank: usize,
        /// Machine of the rank.
        machine: String,
        /// What differs.
        what: String,
        /// Value on that rank.
        here: String,
        /// Value on rank 0.
        there: String,
    },
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(#[from] burn::tensor::ExecutionError),
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// Read, write, create...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A value could not be encoded for a file.
    #[error("cannot encode {what}: {message}")]
    Encode {
        /// What was being written.
        what: &'static str,
        /// The encoder's answer.
        message: String,
    },
    /// An error of the data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An error of the network.
    #[error("{}{}", section(.0), .0)]
    Model(#[from] ModelError),
    /// A weight file.
    #[error("{}: {source}", .path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: WeightsError,
    },
    /// Weights for import that cannot be read.
    #[error(transparent)]
    StateDict(#[from] Box<StateDictError>),
    /// Weights for import that do not fit the network.
    #[error(
        "{}: is not the {network}: {fit} (--partial takes what fits; the network's other tensors keep their initial \
         values)",
        .path.display()
    )]
    Misfit {
        /// The file.
        path: PathBuf,
        /// The network, in words.
        network: String,
        /// What does not fit.
        fit: Box<Fit>,
    },
    /// A network that cannot be written as ONNX.
    #[error(transparent)]
    Onnx(#[from] Box<OnnxError>),
}

impl TrainError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.into(),
            source,
        }
    }

    pub(crate) fn checkpoint(path: &Path, message: impl Into<String>) -> Self {
        Self::Checkpoint {
            path: path.into(),
            message: message.into(),
        }
    }

    /// Adds the key of the experiment that names the file or folder.
    pub(crate) fn named_by(self, key: &'static str) -> Self {
        let source = Box::new(self);
        Self::Named { key, source }
    }

    /// The error of the run of one of several seeds.
    pub(crate) fn of_seed(self, seed: u64) -> Self {
        Self::Seed {
            seed,
            source: Box::new(self),
        }
    }

    /// A divergence: `what` is infinite or NaN.
    pub(crate) fn diverged(what: impl Into<String>) -> Self {
        Self::Diverged(Box::new(Divergence {
            what: what.into(),
            place: None,
        }))
    }

    /// Adds a place to a divergence that has none. Other errors are returned as they are.
    pub(crate) fn at(mut self, place: Place) -> Self {
        if let Self::Diverged(divergence) = &mut self {
            divergence.place.get_or_insert(place);
        }
        self
    }

    /// Adds the last good checkpoint to a divergence. Other errors are returned as they are.
    pub(crate) fn with_last_checkpoint(mut self, last: Option<String>) -> Self {
        if let Self::Diverged(divergence) = &mut self
            && let Some(place) = &mut divergence.place
        {
            place.last = last;
        }
        self
    }

    /// Whether the command was wrong (exit code 2) rather than its execution (exit code 1).
    pub fn is_usage(&self) -> bool {
        let value = matches!(
            self,
            Self::Config { .. } | Self::Value { .. } | Self::Model(_)
        );
        let data = matches!(self, Self::Data(DataError::Value(_)));
        let run = matches!(
            self,
            Self::RunExists(_) | Self::NotARun(_) | Self::Changed { .. } | Self::DataChanged { .. }
        );
        let cluster = matches!(
            self,
            Self::NoMpi | Self::Elsewhere { usage: true } | Self::Differs { .. }
        );
        let within = matches!(self, Self::Seed { source, .. } | Self::Named { source, .. } if source.is_usage());
        value || data || run || cluster || within
    }
}

/// Section of the setting that the network's error begins with.
fn section(error: &ModelError) -> &'static str {
    match error {
        ModelError::InputSize { .. }
        | ModelError::TrainingBatch { .. }
        | ModelError::SqueezedBatch { .. } => "",
        _ => "model.",
    }
}

/// Refuses `found` under `key` unless it `holds`.
///
/// # Errors
/// [`TrainError::Value`].
pub(crate) fn require(
    holds: bool,
    key: &'static str,
    found: impl fmt::Display,
    accepted: &str,
) -> Result<(), TrainError> {
    if holds {
        return Ok(());
    }
    Err(TrainError::Value {
        key: key.into(),
        found: found.to_string(),
        accepted: accepted.into(),
    })
}
