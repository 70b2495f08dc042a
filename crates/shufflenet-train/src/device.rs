//! Which device runs the tensors: the one place of this crate that names a backend.
//!
//! Burn's modules are generic over backends by taking a `&Device`, so everything else only passes
//! one on. A device is chosen by name: `flex` (CPU), `ndarray` (CPU, for comparison: many times
//! slower in training), `wgpu` (the best GPU found) or `wgpu:1` (the second discrete GPU). Nothing
//! of a backend is started before its device is used.

use burn::tensor::Device;

use crate::error::TrainError;

/// The name that selects the CPU.
pub const DEFAULT: &str = "flex";

/// The device with this name.
///
/// # Errors
/// [`TrainError::Value`]: a name that does not exist (with those that do), or one that this binary
/// was built without (with the cargo feature to add).
pub fn open(name: &str) -> Result<Device, TrainError> {
    let (backend, index) = match name.split_once(':') {
        Some((backend, index)) => (backend, Some(index)),
        None => (name, None),
    };
    let refuse = |accepted: String| TrainError::Value {
        key: "--device".into(),
        found: name.into(),
        accepted,
    };
    match (backend, index) {
        ("flex", None) => Ok(Device::flex()),
        ("ndarray", None) => Ok(ndarray()),
        ("wgpu", None) => wgpu(None).ok_or_else(|| refuse(not_built_in("wgpu"))),
        ("wgpu", Some(index)) => {
            let index = index
                .parse()
                .map_err(|_| refuse("wgpu:0, wgpu:1, ...".into()))?;
            wgpu(Some(index)).ok_or_else(|| refuse(not_built_in("wgpu")))
        }
        ("flex" | "ndarray", Some(_)) => Err(refuse(format!("{backend} (it has no index)"))),
        _ => Err(refuse(format!("{} or wgpu:N", NAMES.join(", ")))),
    }
}

const NAMES: [&str; 3] = ["flex", "ndarray", "wgpu"];

fn not_built_in(feature: &str) -> String {
    let built_in: Vec<&str> = NAMES.into_iter().filter(|name| *name != feature).collect();
    format!(
        "{} (this binary was built without {feature}: add --features {feature} to cargo)",
        built_in.join(", ")
    )
}

/// A device as `shufflenet devices` lists it.
pub struct Listing {
    /// What selects it, or would.
    pub name: String,
    /// What it is, or what is missing.
    pub description: String,
}

/// Every device that this build knows, and what it finds of each on this machine.
///
/// This is the one call that starts GPU backends that nobody asked for by name.
pub fn list() -> Vec<Listing> {
    let entry = |name: &str, description: String| Listing {
        name: name.into(),
        description,
    };
    let cpu = crate::machine::cpu();
    let mut found = vec![
        entry("flex", format!("CPU, the default: {cpu}")),
        entry(
            "ndarray",
            format!("CPU, for comparison, many times slower in training: {cpu}"),
        ),
    ];
    found.extend(wgpu_listing().unwrap_or_else(|| {
        vec![entry(
            "wgpu",
            "not built in: add --features wgpu to cargo".into(),
        )]
    }));
    found
}

#[expect(deprecated, reason = "kept for comparison; flex is the default")]
fn ndarray() -> Device {
    Device::ndarray()
}

#[cfg(feature = "wgpu")]
fn wgpu(index: Option<usize>) -> Option<Device> {
    use burn::tensor::DeviceKind;
    let kind = index.map_or(DeviceKind::DefaultDevice, DeviceKind::DiscreteGpu);
    Some(Device::wgpu(kind))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_index: Option<usize>) -> Option<Device> {
    None
}

#[cfg(feature = "wgpu")]
fn wgpu_listing() -> Option<Vec<Listing>> {
    use burn::tensor::DeviceType;
    let adapters = Device::enumerate(DeviceType::Wgpu).into_vec();
    if adapters.is_empty() {
        return Some(vec![Listing {
            name: "wgpu".into(),
            description: "built in, but no adapter was found (is a driver installed?)".into(),
        }]);
    }
    let describe = |device: Device| Listing {
        name: "wgpu".into(),
        description: format!("{device:?}"),
    };
    Some(adapters.into_iter().map(describe).collect())
}

#[cfg(not(feature = "wgpu"))]
fn wgpu_listing() -> Option<Vec<Listing>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_devices_open_by_name() {
        assert!(open("flex").is_ok());
        assert!(open("ndarray").is_ok());
    }

    #[test]
    fn unknown_names_are_answered_with_the_known() {
        for name in ["gpu", "flex:1", "wgpu:x", ""] {
            let line = open(name).unwrap_err().to_string();
            assert!(
                line.contains("--device") && line.contains("accepted"),
                "{line}"
            );
        }
    }

    #[cfg(not(feature = "wgpu"))]
    #[test]
    fn a_device_not_built_in_names_its_feature() {
        let line = open("wgpu").err().unwrap().to_string();
        assert!(line.contains("--features wgpu"), "{line}");
    }
}
