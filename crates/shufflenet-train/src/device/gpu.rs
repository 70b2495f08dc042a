//! The adapters that GPU backends find: GPUs, and software adapters.
//!
//! Burn gives devices in the order in which its backend enumerates adapters, without their names. wgpu gives the names for
//! the same graphics API without starting an adapter. (Starting one may crash in a broken driver.) If a driver is missing,
//! there are no adapters, and nothing panics.
#![cfg_attr(
    not(any(feature = "wgpu", feature = "cuda")),
    allow(dead_code, reason = "without a GPU backend there are no adapters")
)]

use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use burn::tensor::Device;

use crate::error::TrainError;

/// Kinds of adapters, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Discrete,
    Integrated,
    Virtual,
    /// An unknown kind. OpenGL does not report the kind of most GPUs.
    Other,
    /// A software adapter, whose shaders run on the CPU.
    Cpu,
}

impl Kind {
    /// Name for `--device`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Cpu => "cpu",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete GPU",
            Self::Integrated => "integrated GPU",
            Self::Virtual => "virtual GPU",
            Self::Other => "adapter of unknown kind",
            Self::Cpu => "software adapter, runs on the CPU",
        })
    }
}

/// An adapter of a backend.
pub struct Adapter {
    /// Name for `--device`: `wgpu:0`.
    pub name: String,
    /// Burn's handle. Its first use starts the adapter.
    pub device: Device,
    /// Kind of the adapter.
    pub kind: Kind,
    /// Name that the adapter reports.
    pub title: String,
    /// Graphics API and driver.
    pub interface: String,
    /// Size of the largest buffer, in bytes.
    pub largest_buffer: Option<u64>,
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.title, self.kind.word())
    }
}

impl Adapter {
    /// Starts the adapter, so that a failure is reported here, in one line.
    ///
    /// # Errors
    /// [`TrainError::Adapter`].
    pub fn start(&self) -> Result<(), TrainError> {
        quietly(|| name(&self.device))
            .map(drop)
            .map_err(|message| TrainError::Adapter {
                adapter: self.to_string(),
                message,
            })
    }
}

/// The result of `f`, or the message of its panic. Backends panic if a driver refuses. The panicking thread would also
/// print the message, so printing is off during the call.
fn quietly<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    panic::set_hook(hook);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_string()));
        let text = text.unwrap_or_else(|| "it does not say why".into());
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

/// Whether this build has the cargo feature of this name.
pub fn is_built_in(backend: &str) -> bool {
    match backend {
        "wgpu" => cfg!(feature = "wgpu"),
        "vulkan" => cfg!(feature = "vulkan"),
        "cuda" => cfg!(feature = "cuda"),
        _ => false,
    }
}

/// Describes what a machine without adapters for `backend` may lack.
pub fn missing(backend: &str) -> &'static str {
    match backend {
        "cuda" => "is NVIDIA's driver (libcuda) installed?",
        "vulkan" => "is a Vulkan driver (and its loader, libvulkan1 in Debian) installed?",
        _ => "is a driver for Vulkan, Metal or DirectX 12 installed, or for OpenGL (libEGL)?",
    }
}

/// The adapters of `backend` in its order. `None`: it is not built in.
#[cfg_attr(
    not(any(feature = "wgpu", feature = "cuda")),
    expect(unused_variables, reason = "no backend is built in")
)]
pub fn adapters(backend: &str) -> Option<Vec<Adapter>> {
    #[cfg(feature = "tuned")]
    super::tuning::tune_each_shape();
    #[cfg(feature = "cuda")]
    if backend == "cuda" {
        return Some(cuda::adapters());
    }
    #[cfg(feature = "wgpu")]
    if is_built_in(backend) {
        return Some(wgpu::adapters(backend));
    }
    None
}

/// The name that the adapter of `device` reports. Starts the adapter. `None`: a CPU backend.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub fn name(device: &Device) -> Option<String> {
    device.identity().map(|identity| identity.name)
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
pub fn name(_device: &Device) -> Option<String> {
    None
}

#[cfg(feature = "wgpu")]
mod wgpu {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use burn::tensor::{Device, DeviceType};
    use wgpu::{AdapterInfo, Backend, Instance, InstanceDescriptor};

    use super::{Adapter, Kind};

    pub fn adapters(backend: &str) -> Vec<Adapter> {
        let devices = devices(backend).into_vec();
        let mut described = described(backend);
        // Burn counts adapters of each kind, and wgpu has their names. Both enumerate one graphics API in the same
        // order, but Burn gives only one software adapter.
        let mut is_first = true;
        described.retain(|(info, _)| {
            kind(info.device_type) != Kind::Cpu || std::mem::take(&mut is_first)
        });
        let adapters = devices.into_iter().zip(described).enumerate();
        adapters
            .map(|(index, (device, (info, largest_buffer)))| Adapter {
                name: format!("{backend}:{index}"),
                device,
                kind: kind(info.device_type),
                interface: interface(&info),
                title: info.name,
                largest_buffer: Some(largest_buffer),
            })
            .collect()
    }

    #[cfg(feature = "vulkan")]
    fn devices(backend: &str) -> burn::tensor::Devices {
        Device::enumerate(match backend {
            "vulkan" => DeviceType::Vulkan,
            _ => DeviceType::Wgpu,
        })
    }

    #[cfg(not(feature = "vulkan"))]
    fn devices(_backend: &str) -> burn::tensor::Devices {
        Device::enumerate(DeviceType::Wgpu)
    }

    /// The adapters of the graphics API that Burn chooses: the first with a GPU, or else the first with any
    /// adapter. Burn enumerates the adapters of a given API by kind.
    fn described(backend: &str) -> Vec<(AdapterInfo, u64)> {
        if backend == "vulkan" {
            let mut adapters = on(Backend::Vulkan);
            adapters.sort_by_key(|(info, _)| pinned_order(kind(info.device_type)));
            return adapters;
        }
        let apis = match cfg!(target_os = "macos") {
            true => &[Backend::Metal][..],
            false => &[Backend::Vulkan, Backend::Dx12, Backend::Gl],
        };
        let found: Vec<_> = apis.iter().map(|&api| on(api)).collect();
        let is_gpu = |(info, _): &(AdapterInfo, u64)| kind(info.device_type) != Kind::Cpu;
        let with_gpu = found.iter().find(|adapters| adapters.iter().any(is_gpu));
        let with_any = || found.iter().find(|adapters| !adapters.is_empty());
        with_gpu.or_else(with_any).cloned().unwrap_or_default()
    }

    fn pinned_order(kind: Kind) -> usize {
        match kind {
            Kind::Discrete => 0,
            Kind::Integrated => 1,
            Kind::Virtual => 2,
            Kind::Cpu => 3,
            Kind::Other => 4,
        }
    }

    fn on(api: Backend) -> Vec<(AdapterInfo, u64)> {
        let instance = Instance::new(InstanceDescriptor {
            backends: api.into(),
            ..InstanceDescriptor::new_without_display_handle()
        });
        // This future is ready at once, except in a browser.
        let asked = pin!(instance.enumerate_adapters(api.into()));
        let Poll::Ready(adapters) = asked.poll(&mut Context::from_waker(Waker::noop())) else {
            return Vec::new();
        };
        let describe = |adapter: &wgpu::Adapter| {
            let largest = adapter.limits().max_storage_buffer_binding_size;
            (adapter.get_info(), largest)
        };
        adapters.iter().map(describe).collect()
    }

    fn kind(device_type: wgpu::DeviceType) -> Kind {
        match device_type {
            wgpu::DeviceType::DiscreteGpu => Kind::Discrete,
            wgpu::DeviceType::IntegratedGpu => Kind::Integrated,
            wgpu::DeviceType::VirtualGpu => Kind::Virtual,
            wgpu::DeviceType::Cpu => Kind::Cpu,
            wgpu::DeviceType::Other => Kind::Other,
        }
    }

    fn interface(info: &AdapterInfo) -> String {
        let api = match info.backend {
            Backend::Vulkan => "Vulkan",
            Backend::Metal => "Metal",
            Backend::Dx12 => "DirectX 12",
            Backend::Gl => "OpenGL",
            _ => "another graphics API",
        };
        let driver = [&info.driver, &info.driver_info];
        let driver: Vec<&str> = driver.into_iter().map(|word| word.trim()).collect();
        match driver.concat().is_empty() {
            true => api.into(),
            false => format!("{api}, driver {}", driver.join(" ").trim()),
        }
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use burn::tensor::{Device, DeviceType};

    use super::{Adapter, Kind, name, quietly};

    pub fn adapters() -> Vec<Adapter> {
        let devices = Device::enumerate(DeviceType::Cuda).into_vec();
        let describe = |(index, device): (usize, Device)| {
            let title = quietly(|| name(&device)).ok().flatten();
            Adapter {
                name: format!("cuda:{index}"),
                kind: Kind::Discrete,
                title: title.unwrap_or_else(|| "a GPU that does not start".into()),
                interface: "CUDA".into(),
                largest_buffer: None,
                device,
            }
        };
        devices.into_iter().enumerate().map(describe).collect()
    }
}
