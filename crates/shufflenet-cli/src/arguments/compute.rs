//! What computes, and in which precision: flags that are the same in every command that has them.

use clap::Args;
use shufflenet_train::Precision;

use super::numbers::whole;
use crate::process::use_share_of_threads;

/// What computes.
#[derive(Args)]
pub struct Compute {
    /// Where tensors are computed: flex (CPU), ndarray, wgpu, wgpu:1, vulkan, cuda...
    #[arg(long, value_name = "NAME", default_value = shufflenet_train::device::DEFAULT)]
    pub device: String,
    /// CPU threads [default: what this machine or container allows]
    #[arg(long, value_name = "N", value_parser = whole(1..=u16::MAX))]
    pub threads: Option<u16>,
}

impl Compute {
    /// Has the kernels use the given threads, or as many as the machine allows. Returns their number.
    pub fn use_threads(&self) -> usize {
        use_share_of_threads(self.threads, 1)
    }
}

/// What the activations of a trained network are stored as.
#[derive(Args)]
pub struct Stored {
    /// What activations are stored as: f32, or bf16 (on the CPU) [default: f32]
    #[arg(long, value_name = "NAME", value_parser = precision)]
    pub precision: Option<Precision>,
}

impl Stored {
    /// The precision that was asked for, or else float32.
    pub fn or_f32(&self) -> Precision {
        self.precision.unwrap_or_default()
    }
}

/// The precision of this name.
pub fn precision(name: &str) -> Result<Precision, String> {
    let known = [Precision::F32, Precision::Bf16];
    let found = known.into_iter().find(|known| known.name() == name);
    found.ok_or("accepted: f32, bf16".into())
}
