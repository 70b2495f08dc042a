//! Selects the device that computes tensors. Only this module names backends.
//!
//! Burn's modules take a `&Device`, so all other code only passes it on. A device is selected by name: `flex` (CPU),
//! `ndarray` (CPU, for comparison: a cargo feature, and many times slower in training), or a GPU backend that was built in
//! (`wgpu`, `vulkan`, `cuda`). A colon and a number (`wgpu:1`), a kind (`wgpu:discrete`) or a part of a name
//! (`cuda:h100`) may select an adapter of the backend. Without it the best kind is used. A backend starts only when one of
//! its devices is requested.

mod gpu;
pub mod launches;
pub mod list;
pub mod machine;
pub mod self_check;
#[cfg(feature = "tuned")]
mod tuning;

use burn::tensor::Device;
use shufflenet_model::Precision;

use crate::error::{TrainError, require};
pub(crate) use gpu::{Adapter, adapters, missing};

/// The name that selects the CPU.
pub const DEFAULT: &str = "flex";

/// Backends that run on adapters. Each is a cargo feature of the same name.
pub(crate) const GPU_BACKENDS: [&str; 3] = ["wgpu", "vulkan", "cuda"];

/// The device with this name, ready for use.
///
/// # Errors
/// [`TrainError::Value`]: a name or adapter that does not exist (with those that do), or a backend that
/// this binary was built without (with the cargo feature to add). [`TrainError::NoAdapter`]: there is
/// no driver for it here. [`TrainError::Adapter`]: it exists but does not start.
pub fn open(name: &str) -> Result<Device, TrainError> {
    let (backend, which) = match name.split_once(':') {
        Some((backend, which)) => (backend, Some(which)),
        None => (name, None),
    };
    match (backend, which) {
        ("flex", None) => Ok(Device::flex()),
        ("ndarray", None) => ndarray().ok_or_else(|| refused(name, not_built_in(backend))),
        ("flex" | "ndarray", Some(_)) => Err(refused(name, format!("{backend} (there is one)"))),
        _ if GPU_BACKENDS.contains(&backend) => {
            let adapter = choose(name, backend, which)?;
            adapter.start()?;
            Ok(adapter.device)
        }
        _ => Err(refused(name, names())),
    }
}

/// Whether `device` trains networks by kernels of this project.
pub fn has_kernels(device: &Device) -> bool {
    shufflenet_model::has_kernels_on(&device.clone().inner())
}

/// Refuses a precision that `device` has no kernels for in training. `key` is the key or flag that set it.
///
/// # Errors
/// [`TrainError::Value`].
pub fn require_precision(
    key: &'static str,
    precision: Precision,
    device: &Device,
) -> Result<(), TrainError> {
    require(
        precision == Precision::F32 || has_kernels(device),
        key,
        format!("\"{}\" on a device without kernels", precision.name()),
        "\"f32\", or --device flex, or a GPU's with WebGPU's limits",
    )
}

/// Refuses a precision that `device` does not have for inference. `key` is the key or flag that set it.
///
/// # Errors
/// [`TrainError::Value`].
pub fn require_inference_precision(
    key: &'static str,
    precision: Precision,
    device: &Device,
) -> Result<(), TrainError> {
    let cpu = device.clone().inner() == Device::flex();
    require(
        cpu || precision == Precision::F32,
        key,
        format!("\"{}\" on another device than flex", precision.name()),
        "\"f32\", or --device flex",
    )
}

/// Whether `device` has a queue: operations are enqueued, and only reading a value waits for them.
pub fn is_queued(device: &Device) -> bool {
    let device = device.clone().inner();
    device != Device::flex() && ndarray().is_none_or(|cpu| device != cpu)
}

/// The name that the adapter of a GPU's device reports.
pub fn adapter_name(device: &Device) -> Option<String> {
    gpu::name(device)
}

/// The adapter that `which` selects, or the best.
fn choose(name: &str, backend: &str, which: Option<&str>) -> Result<Adapter, TrainError> {
    let Some(mut adapters) = adapters(backend) else {
        return Err(refused(name, not_built_in(backend)));
    };
    if adapters.is_empty() {
        return Err(TrainError::NoAdapter {
            device: name.into(),
            missing: missing(backend),
        });
    }
    let found: Vec<String> = adapters.iter().map(Adapter::to_string).collect();
    let unknown = || refused(name, format!("{backend}, {}", found.join(", ")));
    let index = match which {
        None => position(&adapters, |adapter| {
            adapters.iter().all(|other| adapter.kind <= other.kind)
        }),
        Some(which) => match which.parse::<usize>() {
            Ok(index) => (index < adapters.len()).then_some(index),
            Err(_) => position(&adapters, |adapter| adapter.kind.word() == which)
                .or_else(|| named(&adapters, which)),
        },
    };
    let index = index.ok_or_else(unknown)?;
    Ok(adapters.swap_remove(index))
}

fn position(adapters: &[Adapter], is_it: impl Fn(&Adapter) -> bool) -> Option<usize> {
    adapters.iter().position(is_it)
}

/// The one adapter with `part` in its name.
fn named(adapters: &[Adapter], part: &str) -> Option<usize> {
    let part = part.to_lowercase();
    let has_it =
        |adapter: &Adapter| !part.is_empty() && adapter.title.to_lowercase().contains(&part);
    let mut hits = adapters.iter().enumerate().filter(|(_, a)| has_it(a));
    let (index, _) = hits.next()?;
    hits.next().is_none().then_some(index)
}

fn refused(name: &str, accepted: String) -> TrainError {
    TrainError::Value {
        key: "--device".into(),
        found: format!("`{name}`"),
        accepted,
    }
}

/// The devices of this build, in words.
fn names() -> String {
    let mut names = vec!["flex".to_string()];
    let mut absent = Vec::new();
    match ndarray() {
        Some(_) => names.push("ndarray".into()),
        None => absent.push("ndarray"),
    }
    for backend in GPU_BACKENDS {
        match gpu::is_built_in(backend) {
            true => names.push(format!("{backend}, {backend}:N")),
            false => absent.push(backend),
        }
    }
    let names = names.join(", ");
    match absent.is_empty() {
        true => names,
        false => format!("{names} (not built in: {})", absent.join(", ")),
    }
}

fn not_built_in(backend: &str) -> String {
    let names = names();
    format!("{names}; add --features {backend} to cargo for {backend}")
}

/// The CPU by Burn's older backend, if this build has it.
#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "kept for comparison; flex is the default")]
fn ndarray() -> Option<Device> {
    Some(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Option<Device> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_devices_open_by_name() {
        assert!(!is_queued(&open("flex").unwrap().autodiff()));
        match ndarray() {
            Some(_) => assert!(!is_queued(&open("ndarray").unwrap())),
            None => {
                let line = open("ndarray").unwrap_err().to_string();
                assert!(line.contains("--features ndarray"), "{line}");
            }
        }
    }

    #[test]
    fn bfloat16_is_refused_on_a_device_without_kernels() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            assert!(require_precision("train.precision", Precision::Bf16, &device).is_ok());
            assert!(require_inference_precision("--precision", Precision::Bf16, &device).is_ok());
        }
        if let Some(device) = ndarray() {
            assert!(require_precision("train.precision", Precision::F32, &device).is_ok());
            let line = require_precision(
                "train.precision",
                Precision::Bf16,
                &device.clone().autodiff(),
            )
            .unwrap_err();
            let line = line.to_string();
            let inference = require_inference_precision("--precision", Precision::Bf16, &device);
            assert!(inference.is_err());
            assert!(
                line.contains("train.precision") && line.contains("flex"),
                "{line}"
            );
        }
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_names() {
        for name in ["gpu", "flex:1", "opencl:0", "", ":"] {
            let line = open(name).unwrap_err().to_string();
            assert!(
                line.contains("--device") && line.contains("accepted: flex"),
                "{line}"
            );
        }
    }

    #[test]
    fn a_device_not_built_in_names_its_feature() {
        for backend in GPU_BACKENDS {
            if !gpu::is_built_in(backend) {
                let line = open(backend).unwrap_err().to_string();
                let feature = format!("--features {backend}");
                assert!(line.contains(&feature), "{line}");
            }
        }
    }
}
