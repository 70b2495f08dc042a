//! Tests of the GPU path against the CPU's kernels: operations, whole networks, training steps, and a run that moves
//! between devices.
//!
//! The adapter is the best that `wgpu` finds, or the one that `SHUFFLENET_TEST_DEVICE` names. Without an adapter these
//! tests fail; a software adapter is enough (`docs/gpu.md`). This command prints every error: `BURN_DEVICE=flex cargo
//! test -p shufflenet-train --features wgpu --test gpu -- --nocapture`. `BURN_DEVICE` keeps Burn's default device from
//! being the GPU. Otherwise Burn would start the GPU a second time to load optimizer state, and an OpenGL context
//! belongs to one thread. (The binary sets the variable, too.)
//!
//! The inputs are those of the parity fixtures, for which rounding changes the sign of no ReLU's input. One such change
//! would move a gradient by a percent.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]
#![allow(
    clippy::print_stdout,
    reason = "--nocapture shows the measured figures"
)]

#[path = "../parity/fixture.rs"]
#[allow(dead_code, reason = "the parity tests use the rest")]
mod fixture;
mod operations;
mod switch;
mod trace;

use std::rc::Rc;

use burn::tensor::Device;
use fixture::Fixture;
use shufflenet_model::{Precision, ranks};
use shufflenet_train::device;
use shufflenet_train::device::self_check;
use trace::Trace;

/// Largest accepted error of every quantity, relative to the CPU's value.
const TOLERANCE: f64 = 1e-4;

/// Name of the device under test.
fn gpu_name() -> String {
    std::env::var("SHUFFLENET_TEST_DEVICE").unwrap_or_else(|_| "wgpu".into())
}

fn gpu() -> Device {
    let name = gpu_name();
    match device::open(&name) {
        Ok(device) => device,
        Err(error) => {
            panic!("these tests need an adapter (docs/gpu.md lists those that work): {error}")
        }
    }
}

#[test]
fn networks_of_both_layouts_train_as_on_the_cpu() {
    let gpu = gpu();
    for name in ["standard-0.5", "seed-0.5", "seed-seed-stem"] {
        assert_trains_alike(name, &gpu, |fixture, device| {
            trace::trace(fixture, device, Precision::F32)
        });
    }
}

#[test]
fn networks_in_bfloat16_train_as_on_the_cpu() {
    let fixture = Fixture::read("standard-0.5");
    let (cpu, gpu) = (Device::flex(), gpu());
    let wide = trace::trace(&fixture, &cpu, Precision::F32);
    let narrow = [&cpu, &gpu].map(|device| trace::trace(&fixture, device, Precision::Bf16));
    for (quantity, tensors) in &wide {
        if *quantity == "inference logits" {
            continue;
        }
        // All tensors of a quantity are compared as one, because the roundings of a single tensor may cancel by chance.
        let all = |trace: &Trace| -> Vec<f64> {
            let of = |name: &String| trace[quantity][name].clone();
            tensors.keys().flat_map(of).collect()
        };
        let expected = all(&wide);
        let errors = narrow
            .each_ref()
            .map(|narrow| distance(&all(narrow), &expected, &expected));
        assert_rounds_alike(quantity, errors);
    }
}

/// Asserts that the error of a device in bfloat16 against float32 is about that of the CPU. The two devices round at
/// different places: the CPU stores the output of a unit's last convolution without the part that comes from the shift
/// of the norm before it. So the two differ from each other as much as each differs from float32. (`shufflenet-gpu`
/// tests the roundings of its kernels bit for bit.)
fn assert_rounds_alike(what: &str, [cpu, gpu]: [f64; 2]) {
    println!("bf16 {what:<40} {gpu:.1e}, on the CPU {cpu:.1e}");
    assert!(
        0.25 * cpu < gpu && gpu < 2.0 * cpu,
        "{what}: {gpu:e}, and {cpu:e} on the CPU"
    );
}

/// Two ranks with the same images are simulated: a sum over the ranks is twice the value of one rank.
#[test]
fn batch_norms_over_all_ranks_are_as_on_the_cpu() {
    assert_trains_alike("standard-0.5", &gpu(), |fixture, device| {
        let twice: ranks::Sum = Rc::new(|values| values.iter_mut().for_each(|value| *value *= 2.0));
        ranks::summed_by(twice, || trace::trace(fixture, device, Precision::F32))
    });
}

/// Asserts that a fixture's network has the same [`Trace`] on the CPU and on the adapter.
fn assert_trains_alike(name: &str, gpu: &Device, trace: impl Fn(&Fixture, &Device) -> Trace) {
    let fixture = Fixture::read(name);
    let expected = trace(&fixture, &Device::flex());
    let found = trace(&fixture, gpu);
    for (quantity, tensors) in &expected {
        let mut worst = (0.0, "");
        for (tensor, values) in tensors {
            // Such a gradient is zero by construction, because a batch norm subtracts what the beta before it adds.
            let is_zero = fixture.gradient_norms.get(tensor) == Some(&0.0);
            let scale = match *quantity == "gradients" && is_zero {
                true => &tensors[&tensor.replace(".bias", ".weight")],
                false => values,
            };
            let error = distance(&found[quantity][tensor], values, scale);
            if error.is_nan() || error > worst.0 {
                worst = (error, tensor.as_str());
            }
        }
        println!("{name:<15} {quantity:<21} {:.1e}  {}", worst.0, worst.1);
        assert!(worst.0 <= TOLERANCE, "{name}, {quantity}: {worst:?}");
    }
}

#[test]
fn the_self_check_passes_and_reports_its_error() {
    let passed = self_check::check(&gpu(), "the adapter under test");
    let passed = passed.unwrap_or_else(|error| panic!("{error}"));
    println!("self-check      {passed}");
    assert!(passed.error <= 1e-3, "{passed}");
}

#[test]
fn adapters_are_selected_by_number_or_name_and_unknown_ones_refused() {
    let backend = gpu_name();
    let backend = backend.split(':').next().unwrap();
    let gpu = gpu();
    let title = device::adapter_name(&gpu).unwrap();
    assert!(device::open(&format!("{backend}:0")).is_ok());
    assert!(device::open(&format!("{backend}:{}", title.to_uppercase())).is_ok());
    for wrong in ["4242", "-1", "quantum", ""] {
        let name = format!("{backend}:{wrong}");
        let error = device::open(&name).unwrap_err();
        let line = error.to_string();
        assert!(error.is_usage(), "{line}");
        assert!(line.contains(&name) && line.contains(&title), "{line}");
    }
}

/// `|a - b| / |scale|`
fn distance(a: &[f64], b: &[f64], scale: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| a - b));
    difference / norm(&mut scale.iter().copied())
}
