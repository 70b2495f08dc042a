//! Flags for device, threads and precision, which several commands share.

use clap::Args;
use shufflenet_train::Precision;

use super::numbers::whole;
use crate::process::use_share_of_threads;

/// The device and its threads.
#[derive(Args)]
pub struct Compute {
    /// Device that computes tensors: flex (CPU), ndarray, wgpu, wgpu:1, vulkan, cuda...
    #[arg(long, value_name = "NAME", default_value = shufflenet_train::device::DEFAULT)]
    pub device: String,
    /// CPU threads, 1 to 1024 [default: what this machine or container allows]
    #[arg(long, value_name = "N", value_parser = whole(1..=1024))]
    pub threads: Option<u16>,
}

impl Compute {
    /// Sets the number of threads of the kernels: the given number, or as many as the machine allows. Returns the number.
    pub fn use_threads(&self) -> usize {
        use_share_of_threads(self.threads, 1)
    }
}

/// Type of the stored activations of a trained network.
#[derive(Args)]
pub struct Stored {
    /// Type of stored activations: f32, or bf16 (on the CPU) [default: f32]
    #[arg(long, value_name = "NAME", value_parser = precision)]
    pub precision: Option<Precision>,
}

impl Stored {
    /// The requested precision, or else float32.
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
