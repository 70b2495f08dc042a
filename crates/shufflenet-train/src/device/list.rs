//! `shufflenet devices`: the devices of this build and this machine, and whether they compute correctly.

use std::fmt;

use serde::Serialize;

use crate::device::machine;
use crate::device::self_check;
use crate::device::{self, Adapter};

/// The output of `shufflenet devices`, as text or JSON.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// The devices, in the order of their names in the documentation.
    pub devices: Vec<Entry>,
}

/// A device, or a backend without one.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Name for `--device`.
    pub name: String,
    /// Whether it can be used.
    pub available: bool,
    /// `cpu`, or an adapter's kind: `discrete`, `integrated`, `virtual`, `other`, or `cpu` for a software
    /// adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Description, or what is missing.
    pub description: String,
    /// Graphics API and driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Largest buffer, in bytes. (wgpu does not report the size of the memory.)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_buffer: Option<u64>,
    /// Result of the self-check, if it was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
}

/// Result of [`self_check`].
#[derive(Debug, Serialize)]
pub struct Check {
    /// Whether the device may train.
    pub passed: bool,
    /// The result in words.
    pub message: String,
}

impl Listing {
    /// Whether no check has failed.
    pub fn all_right(&self) -> bool {
        let mut checks = self.devices.iter().filter_map(|entry| entry.check.as_ref());
        checks.all(|check| check.passed)
    }
}

/// Every device of this build, and whether this machine has it. `check` starts each GPU and compares it with the CPU.
pub fn list(check: bool) -> Listing {
    let cpu = machine::cpu();
    let on_cpu = |name: &str, what: &str| Entry {
        available: true,
        kind: Some("cpu"),
        ..Entry::absent(name, format!("{what}: {cpu}"))
    };
    let mut devices = vec![on_cpu("flex", "CPU, the default")];
    if cfg!(feature = "ndarray") {
        let what = "CPU, for comparison, many times slower in training";
        devices.push(on_cpu("ndarray", what));
    }
    for backend in device::GPU_BACKENDS {
        match device::adapters(backend) {
            None => {
                let add = format!("not built in: add --features {backend} to cargo");
                devices.push(Entry::absent(backend, add));
            }
            Some(adapters) if adapters.is_empty() => {
                let missing = device::missing(backend);
                let none = format!("built in, but no adapter was found: {missing}");
                devices.push(Entry::absent(backend, none));
            }
            Some(adapters) => {
                devices.extend(adapters.iter().map(|adapter| Entry::of(adapter, check)))
            }
        }
    }
    Listing { devices }
}

impl Entry {
    fn absent(name: &str, description: String) -> Self {
        Self {
            name: name.into(),
            available: false,
            kind: None,
            description,
            interface: None,
            largest_buffer: None,
            check: None,
        }
    }

    fn of(adapter: &Adapter, check: bool) -> Self {
        let description = format!("{}: {}", adapter.title, adapter.kind);
        Self {
            available: true,
            kind: Some(adapter.kind.word()),
            interface: Some(adapter.interface.clone()),
            largest_buffer: adapter.largest_buffer,
            check: check.then(|| Check::of(adapter)),
            ..Self::absent(&adapter.name, description)
        }
    }
}

impl Check {
    fn of(adapter: &Adapter) -> Self {
        let started = adapter.start();
        let checked = started.and_then(|()| self_check::check(&adapter.device, &adapter.name));
        match checked {
            Ok(passed) => Self {
                passed: true,
                message: passed.to_string(),
            },
            Err(error) => Self {
                passed: false,
                message: error.to_string(),
            },
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.devices {
            write!(f, "{:<9} {}", entry.name, entry.description)?;
            if let Some(interface) = &entry.interface {
                write!(f, "; {interface}")?;
            }
            if let Some(bytes) = entry.largest_buffer {
                write!(f, "; buffers up to {:.1} GB", bytes as f64 / 1e9)?;
            }
            writeln!(f)?;
            if let Some(check) = &entry.check {
                let verdict = if check.passed { "passed" } else { "failed" };
                writeln!(f, "{:<9} self-check {verdict}: {}", "", check.message)?;
            }
        }
        Ok(())
    }
}
