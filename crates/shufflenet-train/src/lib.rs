//! Training and evaluation of ShuffleNetV2 classifiers: one TOML file in, one run folder out.
//!
//! [`settings::load`] reads an [`experiment::Experiment`], [`fit::fit`] trains it, and
//! [`evaluate::evaluate`] measures a checkpoint anew, [`summarise::summarise`] prices a network,
//! [`mod@bench`] times the machine. The `shufflenet` binary only turns arguments into calls of these.

pub mod average;
pub mod bench;
pub mod checkpoint;
pub mod classifier;
pub mod cluster;
mod conclusion;
pub mod console;
pub mod dashboard;
pub mod data_tools;
pub mod device;
pub mod devices;
pub mod dry_run;
pub mod error;
pub mod evaluate;
pub mod experiment;
pub mod export;
mod files;
pub mod fine_tune;
pub mod fit;
pub mod import;
pub mod inputs;
pub mod journal;
pub mod learner;
pub mod loss;
pub mod lr_find;
pub mod machine;
pub mod measures;
mod metrics_csv;
pub mod metrics_log;
pub mod optimizer;
pub mod outcomes_file;
mod pace;
pub mod plot;
pub mod predict;
pub mod preflight;
pub mod progressive;
pub mod report;
mod resume;
pub mod run;
pub mod run_folder;
pub mod schedule;
pub mod self_check;
pub mod settings;
pub mod sources;
pub mod state;
pub mod store;
pub mod summarise;
pub mod tally;
pub mod tensorboard;
pub mod trained;
mod training;
pub mod unread;

pub use burn::train::Interrupter;
pub use error::TrainError;
pub use shufflenet_data::Normalization;
#[cfg(feature = "fetch")]
pub use shufflenet_data::fetch::names as fetch_names;
