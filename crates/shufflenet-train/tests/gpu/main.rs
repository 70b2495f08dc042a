//! The GPU path against the CPU's kernels: operations, whole networks, steps, and a run that moves.
//!
//! The adapter is `wgpu`'s best, or what `SHUFFLENET_TEST_DEVICE` names; without one these tests fail. A
//! software adapter will do (`docs/gpu.md`). `BURN_DEVICE=flex cargo test -p shufflenet-train --features wgpu
//! --test gpu -- --nocapture` prints every error. (Burn's default device is the GPU otherwise, which would be
//! started a second time to load optimizer state, and an OpenGL context is one thread's. The binary sets it.) The inputs are the parity fixtures', chosen so that rounding flips
//! no ReLU: one flip would move a gradient by a percent.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]
#![allow(
    clippy::print_stdout,
    reason = "measured figures are for whoever asks with --nocapture"
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

/// Of every quantity, relative to the CPU's.
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
            panic!("these tests need an adapter (docs/gpu.md says which will do): {error}")
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
        // All tensors of the quantity as one: of a single one the roundings may be lucky.
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

/// Asserts that a device in bfloat16 is about as far from float32 as the CPU is. The two round at other places: the CPU
/// stores the output of a unit's last convolution without what the shift of the norm before it adds. So they are no closer
/// to each other than either is to float32. (What the kernels round is held to the last bit in `shufflenet-gpu`.)
fn assert_rounds_alike(what: &str, [cpu, gpu]: [f64; 2]) {
    println!("bf16 {what:<40} {gpu:.1e}, on the CPU {cpu:.1e}");
    assert!(
        0.25 * cpu < gpu && gpu < 2.0 * cpu,
        "{what}: {gpu:e} where the CPU has {cpu:e}"
    );
}

/// Every rank is one of two that have the same images, so that a sum over them is twice what is here.
#[test]
fn networks_norm_over_all_ranks_as_on_the_cpu() {
    assert_trains_alike("standard-0.5", &gpu(), |fixture, device| {
        let twice: ranks::Sum = Rc::new(|values| values.iter_mut().for_each(|value| *value *= 2.0));
        ranks::summed_by(twice, || trace::trace(fixture, device, Precision::F32))
    });
}

/// The network of a fixture, traced on the CPU and on the adapter.
fn assert_trains_alike(name: &str, gpu: &Device, trace: impl Fn(&Fixture, &Device) -> Trace) {
    let fixture = Fixture::read(name);
    let expected = trace(&fixture, &Device::flex());
    let found = trace(&fixture, gpu);
    for (quantity, tensors) in &expected {
        let mut worst = (0.0, "");
        for (tensor, values) in tensors {
            // Zero by construction: a batch norm takes off what the beta before it adds.
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
fn the_self_check_passes_and_tells_by_how_much() {
    let passed = self_check::check(&gpu(), "the adapter under test");
    let passed = passed.unwrap_or_else(|error| panic!("{error}"));
    println!("self-check      {passed}");
    assert!(passed.error <= 1e-3, "{passed}");
}

#[test]
fn adapters_are_chosen_by_number_kind_and_name_and_others_refused() {
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
