//! Training and evaluation of ShuffleNetV2 classifiers: one TOML file in, one run folder out.
//!
//! [`load`] reads an [`Experiment`], [`train`] trains it, [`evaluate`] evaluates the best checkpoint, and [`predict`]
//! classifies images. The `shufflenet` binary only turns arguments into calls of these functions.
//!
//! ```
//! use shufflenet_train::{
//!     Console, EvaluationRequest, Interrupter, PredictionRequest, RunOptions, evaluate, load, predict, train,
//! };
//!
//! # let folder = tempfile::tempdir()?;
//! # let run = folder.path().join("first");
//! # let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
//! # let photo = root.join("crates/shufflenet-data/tests/fixtures/images/grey.png");
//! # let config = root.join("configs/quickstart.toml");
//! # let images = format!("data.root={:?}", root.join("data/fashion-mnist-small"));
//! # let overrides = [images, "train.max_steps=2".into(), "model.widths=[8, 16, 24, 32, 48]".into()];
//! // `config` is configs/quickstart.toml, `run` the folder of the run, `photo` an image.
//! let experiment = load(&config, &overrides)?;
//! train(&experiment, &RunOptions::new(&run), &Interrupter::new(), &mut Console::new())?;
//!
//! let evaluated = evaluate(&EvaluationRequest::new(&run))?;
//! println!("top-1: {:.2} %", 100.0 * evaluated.report.metrics.top1);
//!
//! predict(&PredictionRequest::new(&run, [&photo]), &mut |prediction| {
//!     println!("{}: {:?}", prediction.path, prediction.top.first());
//!     true
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The networks are in `shufflenet-model`, and images and batches in `shufflenet-data`. You can use both in your own
//! training loop. Everything else in this crate is for the binary, and may change without notice.

#[doc(hidden)]
pub mod bench;
#[doc(hidden)]
pub mod checkpoint;
#[doc(hidden)]
pub mod cluster;
#[doc(hidden)]
pub mod data;
#[doc(hidden)]
pub mod device;
#[doc(hidden)]
pub mod display;
mod divergence;
mod error;
#[doc(hidden)]
pub mod evaluation;
#[doc(hidden)]
pub mod exchange;
#[doc(hidden)]
pub mod experiment;
#[doc(hidden)]
pub mod files;
mod links;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod recipe;
mod refusals;
#[doc(hidden)]
pub mod report;
#[doc(hidden)]
pub mod run;
#[doc(hidden)]
pub mod step;

pub use burn::train::Interrupter;
pub use device::machine::use_threads;
pub use display::console::Console;
pub use divergence::{Divergence, Place};
pub use error::TrainError;
pub use evaluation::predict::{Prediction, PredictionRequest, Ranked, predict};
pub use evaluation::{Evaluated, EvaluationReport, EvaluationRequest, evaluate};
pub use experiment::Experiment;
pub use experiment::settings::load;
pub use run::Outcome;
pub use run::folder::Existing;
pub use run::start::{RunOptions, train};
#[cfg(feature = "fetch")]
#[doc(hidden)]
pub use shufflenet_data::fetch::names as fetch_names;
pub use shufflenet_data::{ClassOrder, Normalization, UnknownClasses};
pub use shufflenet_model::Precision;

/// The programs in the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
