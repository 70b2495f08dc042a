//! What computes: a flag for the device and one for the threads, the same in every command that has them.

use clap::Args;

use crate::process::use_share_of_threads;

/// What computes.
#[derive(Args)]
pub struct Compute {
    /// Where tensors are computed: flex (CPU), ndarray, wgpu, wgpu:1, vulkan, cuda...
    #[arg(long, value_name = "NAME", default_value = shufflenet_train::device::DEFAULT)]
    pub device: String,
    /// CPU threads [default: what this machine or container allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

impl Compute {
    /// Has the kernels use the given threads, or as many as the machine allows. Returns their number.
    pub fn use_threads(&self) -> usize {
        use_share_of_threads(self.threads, 1)
    }
}
