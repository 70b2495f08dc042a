//! ShuffleNetV2 as Burn modules (Ma et al., 2018, [Practical Guidelines for Efficient CNN
//! Architecture Design](https://arxiv.org/abs/1807.11164)).
//!
//! The crate has both published layouts, the paper's four widths or custom ones, three stems and the paper's
//! switches. Batch norm and initial weights follow PyTorch. PyTorch reads and writes the weight files.
//!
//! # A network
//!
//! [`ModelConfig`] describes the network and [`ShuffleNetV2::new`] builds it. A configuration that cannot
//! work is refused first: [`ModelError`] names the setting, the value found and the values accepted.
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
//! The network is an ordinary Burn module. On an autodiff device it trains in any training loop; `valid()`
//! turns it into a network for inference. Two short programs show both: `examples/train_loop.rs` and
//! `examples/classify.rs`. Two rules apply:
//!
//! - Batch norm needs two values per channel in training.
//!   [`check_training_batch`](ModelConfig::check_training_batch) refuses a batch that is too small before
//!   it runs.
//! - A clone of a Burn module shares batch norm's running statistics with the original. Call
//!   [`ShuffleNetV2::unshare`] on a copy that is used beside the original (an average of the weights, a
//!   comparison).
//!
//! # Weights
//!
//! [`to_safetensors`] and [`load_safetensors`] write and read files in PyTorch's shapes, under torchvision's names
//! (layout `standard`) or the seed network's (layout `seed`). [`parameters`] gives the same names, for code that stores
//! other data about a parameter. [`to_state_dict`] writes files for PyTorch's `load_state_dict(strict=True)`
//! ([`to_half_state_dict`] in half the bytes), and [`to_onnx`] writes files for any ONNX runtime. [`StateDict`] reads
//! files that PyTorch saved, and [`infer_config`] finds out which network such a file belongs to.
//! [`load_for_fine_tuning`] starts from the weights of another task. [`ShuffleNetV2::freeze_parts`] excludes parts from
//! training.
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
//! the stages and the whole network, [`plan`] the checks of a configuration, and [`squeeze_excitation`] the
//! squeeze-and-excitation block.

pub mod batch_norm;
pub mod config;
pub mod conv_norm;
mod entries;
mod error;
pub mod fine_tune;
pub mod float16;
#[cfg(feature = "gpu")]
mod frozen;
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
mod words;

pub use config::{Layout, ModelConfig, Scale, Stem, Widths};
pub use error::ModelError;
pub use fine_tune::{ClassifierStart, load_for_fine_tuning};
pub use float16::to_half_state_dict;
pub use inference::{Inference, tensor_names};
pub use network::ShuffleNetV2;
pub use onnx::{Sizes, to_onnx};
pub use shufflenet_ops::fused::{Precision, has_kernels_on};
pub use shufflenet_ops::inference::softmax;
#[cfg(feature = "gpu")]
pub use shufflenet_ops::traffic;
pub use shufflenet_ops::{
    Isa, clip_norm, cross_entropy_gradient, flat, orthogonal, ranks, subnormals,
};
pub use state_dict::{Fit, StateDict, StateDictError, groups, infer_config};
pub use summary::Summary;
pub use weights::{
    WeightsError, load_safetensors, num_parameters, parameters, to_safetensors, to_state_dict,
};
