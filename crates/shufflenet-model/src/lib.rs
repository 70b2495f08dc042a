//! ShuffleNetV2 as Burn modules (Ma et al., 2018, [Practical Guidelines for Efficient CNN
//! Architecture Design](https://arxiv.org/abs/1807.11164)).
//!
//! Both published layouts, four widths, three stems, with PyTorch's batch norm and initial weights,
//! and weight files that PyTorch reads and writes. Usable alone, inside any Burn training loop:
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
//! Where to look: [`config`] has the table of widths and the stems, [`unit`] the paper's two units,
//! [`network`] the whole, [`names`] and [`weights`] the weight files.

pub mod batch_norm;
pub mod config;
pub mod conv_norm;
mod error;
mod initialise;
pub mod names;
pub mod network;
pub mod unit;
pub mod weights;

pub use config::{Layout, ModelConfig, Scale, Stem};
pub use error::ModelError;
pub use network::ShuffleNetV2;
pub use shufflenet_ops::Isa;
pub use weights::{WeightsError, load_safetensors, num_parameters, parameters, to_safetensors};
