//! ShuffleNetV2 as Burn modules (Ma et al., 2018, [Practical Guidelines for Efficient CNN
//! Architecture Design](https://arxiv.org/abs/1807.11164)).
//!
//! Both published layouts, four widths or one's own, three stems, the paper's switches; with PyTorch's
//! batch norm and initial weights, and weight files that PyTorch reads and writes.
//!
//! # A network
//!
//! [`ModelConfig`] says which, [`ShuffleNetV2::new`] builds it, and nothing that cannot work gets that
//! far: [`ModelError`] names the setting, what was found and what is accepted.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use shufflenet_model::{ModelConfig, Scale, ShuffleNetV2, Stem};
//!
//! let config = ModelConfig {
//!     scale: Scale::Half,
//!     stem: Some(Stem::Cifar),
//!     ..ModelConfig::default()
//! };
//! config.validate(32, 32)?;
//! let device = Device::flex(); // with `.autodiff()` to train
//! let network = ShuffleNetV2::new(&config, 0, &device)?;
//! let logits = network.forward(Tensor::zeros([2, 3, 32, 32], &device));
//! assert_eq!(logits.dims(), [2, 10]);
//! # Ok::<(), shufflenet_model::ModelError>(())
//! ```
//!
//! # Training and classifying
//!
//! The network is an ordinary Burn module: built on an autodiff device it trains, in any loop, and
//! `valid()` turns it into one that classifies. Two programs of a page show it whole:
//! `examples/train_loop.rs` and `examples/classify.rs`. Two things to know:
//!
//! - Batch norm needs two values per channel to train on:
//!   [`check_training_batch`](ModelConfig::check_training_batch) says beforehand which batch is too
//!   small.
//! - A clone of a Burn module shares batch norm's running statistics with the original. What is to live
//!   beside it (an average of the weights, a comparison) goes through [`ShuffleNetV2::unshare`] first.
//!
//! # Weights
//!
//! [`to_safetensors`] and [`load_safetensors`] write and read files under torchvision's names (layout
//! `standard`) or the seed listing's (`seed`), in PyTorch's shapes. [`parameters`] gives the same names
//! to whoever stores something else about a parameter. [`to_state_dict`] is for PyTorch's own
//! `load_state_dict(strict=True)`, [`to_onnx`] for everything that runs ONNX.
//! [`StateDict`] reads what PyTorch saved, [`infer`] tells which network it is of. [`load_for_fine_tuning`] starts from another task's
//! weights, [`ShuffleNetV2::freeze_parts`] keeps parts as they are.
//!
//! # What it costs
//!
//! ```
//! # use burn::tensor::Device;
//! use shufflenet_model::{ModelConfig, ShuffleNetV2, Summary};
//!
//! let network = ShuffleNetV2::new(&ModelConfig::default(), 0, &Device::flex())?;
//! let summary = Summary::of(&network, 224, 224)?;
//! assert_eq!(summary.parameters, 1_263_854);
//! println!("{summary}"); // a row per layer, and the totals
//! # Ok::<(), shufflenet_model::ModelError>(())
//! ```
//!
//! # Where to look
//!
//! [`config`] has every setting and the table of widths, [`mod@unit`] the paper's two units, [`network`]
//! the stages and the whole, [`plan`] what is refused, [`squeeze_excitation`] that switch.

pub mod batch_norm;
pub mod config;
pub mod conv_norm;
mod entries;
mod error;
pub mod fine_tune;
mod infer;
pub mod inference;
mod initialise;
pub mod names;
pub mod network;
pub mod onnx;
pub mod plan;
pub mod squeeze_excitation;
pub mod state_dict;
pub mod summary;
#[cfg(test)]
mod testing;
pub mod unit;
pub mod weights;

pub use config::{Layout, ModelConfig, Scale, Stem};
pub use error::ModelError;
pub use fine_tune::load_for_fine_tuning;
pub use infer::infer;
pub use inference::Inference;
pub use network::ShuffleNetV2;
pub use onnx::to_onnx;
pub use shufflenet_ops::{Isa, orthogonal, ranks, subnormals};
pub use state_dict::{Fit, StateDict, StateDictError};
pub use summary::Summary;
pub use weights::{
    WeightsError, load_safetensors, num_parameters, parameters, to_safetensors, to_state_dict,
};
