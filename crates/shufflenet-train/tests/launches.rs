//! How many kernels a training step launches. The host pays for each, so this number must not grow unseen.
//!
//! The adapter is `wgpu`'s best, or what `SHUFFLENET_TEST_DEVICE` names, as in the tests `gpu`. This is a test binary of
//! its own because CubeCL has one observer in a process; for the same reason its tests count one after the other.
//! With the feature `fused` the numbers are others, and are not tested.
#![cfg(not(feature = "fused"))]
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]
#![allow(
    clippy::print_stdout,
    reason = "counted figures are for whoever asks with --nocapture"
)]

use std::sync::{Mutex, OnceLock, PoisonError};

use burn::tensor::{Device, Tensor};
use shufflenet_data::{Batch, ImageShape};
use shufflenet_model::{ModelConfig, Scale, Stem};
use shufflenet_train::bench;
use shufflenet_train::device;
use shufflenet_train::device::launches::{self, Launches};
use shufflenet_train::recipe::optimizer::OptimizerConfig;
use shufflenet_train::step::learner::Learner;

/// Launches of forward and backward together, rounded up: what was counted when the test was written. It comes down as
/// parts of the network get kernels of their own, and never goes up.
const AT_MOST: usize = 100_000;

fn gpu() -> Device {
    let name = std::env::var("SHUFFLENET_TEST_DEVICE").unwrap_or_else(|_| "wgpu".into());
    device::open(&name).unwrap_or_else(|error| panic!("these tests need an adapter: {error}"))
}

/// Launches of `work`, while nobody else in this process counts or computes.
fn counted<T>(device: &Device, work: impl FnOnce() -> T) -> (T, Launches) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    launches::count(device, work).unwrap()
}

/// Launches of the second and the third step of x0.5 with the cifar stem. In the first step the optimizer has no state.
fn second_and_third_step() -> &'static [Launches; 2] {
    static COUNTED: OnceLock<[Launches; 2]> = OnceLock::new();
    COUNTED.get_or_init(|| {
        let device = gpu();
        let model = ModelConfig {
            scale: Scale::Half,
            stem: Some(Stem::Cifar),
            ..ModelConfig::default()
        };
        let shape = ImageShape {
            channels: 3,
            height: 32,
            width: 32,
        };
        let batch = Batch::noise(0, 4, shape, model.classes());
        let mut learner = Learner::fresh(&model, OptimizerConfig::default(), 0, &device).unwrap();
        let mut step = || {
            let (taken, launches) = counted(&device, || bench::step(&mut learner, &batch, 0.01));
            taken.unwrap();
            launches
        };
        step();
        [step(), step()]
    })
}

#[test]
fn three_additions_are_three_launches() {
    let device = gpu();
    let one = Tensor::<1>::from_data([1.0, 2.0, 3.0], &device);
    let (sum, launches) = counted(&device, || {
        let two = one.clone() + one.clone();
        let four = two.clone() + two;
        four + one
    });
    assert_eq!(launches.total, 3, "{launches:?}");
    let sum: Vec<f32> = sum.into_data().iter::<f32>().collect();
    assert_eq!(sum, [5.0, 10.0, 15.0]);
}

#[test]
fn launches_are_counted_for_the_part_that_was_named_last() {
    let device = gpu();
    let one = Tensor::<1>::from_data([1.0, 2.0, 3.0], &device);
    let (_, launches) = counted(&device, || {
        let two = one.clone() + one.clone();
        launches::part("first");
        let three = two + one.clone();
        launches::part("second");
        let sum = three.clone() + three;
        launches::part("first");
        sum + one
    });
    let parts = [("before", 1), ("first", 2), ("second", 1)];
    assert_eq!(launches.by_part, parts.map(|(part, n)| (part.into(), n)));
    assert_eq!(launches.total, 4);
    launches::part("after the count");
}

#[test]
fn forward_and_backward_launch_no_more_than_they_did() {
    let [step, _] = second_and_third_step();
    for (part, count) in &step.by_part {
        println!("{part:<10} {count:>5}");
    }
    println!("{:<10} {:>5}", "step", step.total);
    for (kernel, count) in &step.by_kernel {
        println!("{count:>5}  {kernel}");
    }
    let found = step.of("forward") + step.of("backward");
    assert!(found > 0 && found <= AT_MOST, "{found}, {:?}", step.by_part);
    assert_eq!(step.of("images"), 0, "an upload is no launch");
}

#[test]
fn every_step_launches_as_many_kernels_as_the_step_before() {
    let [second, third] = second_and_third_step();
    assert_eq!(second, third);
}
