//! Tests of the number of kernels that a training step launches. Each launch takes time on the host, so this number
//! must not grow unnoticed.
//!
//! The adapter is the best that `wgpu` finds, or the one that `SHUFFLENET_TEST_DEVICE` names, as in the tests `gpu`. CubeCL
//! has one observer per process, so these tests have their own binary and count one after the other. With the feature
//! `fused` the numbers differ and are not tested.
#![cfg(not(feature = "fused"))]
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]
#![allow(
    clippy::print_stdout,
    reason = "--nocapture shows the counted launches"
)]

use std::sync::{Mutex, OnceLock, PoisonError};

use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::cubecl::MemoryScope;
use burn::tensor::{Device, Tensor};
use shufflenet_data::{Batch, ImageShape};
use shufflenet_model::{Inference, ModelConfig, Scale, ShuffleNetV2, Stem};
use shufflenet_train::bench::{self, Workload};
use shufflenet_train::device;
use shufflenet_train::device::launches::{self, Launches};
use shufflenet_train::recipe::optimizer::OptimizerConfig;
use shufflenet_train::step::classifier::{MicroBatch, pixels};
use shufflenet_train::step::learner::{Learner, LearnerConfig};

/// Most launches of forward, loss and backward together. With Burn's operations alone there were 3,692.
const AT_MOST: usize = 300;
/// Most launches of a step.
const MOST_OF_A_STEP: usize = 350;
/// Most launches of an optimizer, and of the average of the weights.
const MOST_OF_AN_OPTIMIZER: usize = 20;

/// Most launches of Muon.
const MOST_OF_MUON: usize = 350;
/// Most launches of a batch's evaluation: 2 a stride-1 unit, 3 a stride-2 unit, 2 each for stem, head and classifier.
const MOST_OF_AN_EVALUATION: usize = 41;
/// Most launches that dropout or smaller images add to a step, or one more micro-batch besides its forward and backward.
const MOST_OF_AN_ADDITION: usize = 4;

const CIFAR: ImageShape = ImageShape {
    channels: 3,
    height: 32,
    width: 32,
};

/// Name of the device under test.
fn gpu_name() -> String {
    std::env::var("SHUFFLENET_TEST_DEVICE").unwrap_or_else(|_| "wgpu".into())
}

fn gpu() -> Device {
    // docs/gpu.md lists the adapters that work.
    device::open(&gpu_name()).unwrap()
}

/// Runs `work` while no other test of this process launches kernels.
fn alone<T>(work: impl FnOnce() -> T) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// Runs `work` and counts its launches.
fn counted<T>(device: &Device, work: impl FnOnce() -> T) -> (T, Launches) {
    alone(|| launches::count(device, work).unwrap())
}

/// A new learner. Initialising its weights launches kernels.
fn fresh(model: &ModelConfig, config: impl Into<LearnerConfig>, device: &Device) -> Learner {
    let config = config.into();
    alone(|| Learner::fresh(model, config, 0, device).unwrap())
}

fn half_width() -> ModelConfig {
    ModelConfig {
        scale: Scale::Half,
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    }
}

/// The launches of the second step and of the third. In the first step the optimizer has no state.
fn of_two_steps(config: impl Into<LearnerConfig>) -> [Launches; 2] {
    let device = gpu();
    let model = half_width();
    let batch = Batch::noise(0, 4, CIFAR, model.classes());
    let mut learner = fresh(&model, config, &device);
    let mut step = || {
        let (taken, launches) = counted(&device, || bench::step(&mut learner, &batch, None, 0.01));
        taken.unwrap();
        launches
    };
    step();
    [step(), step()]
}

/// A network that takes little time.
fn small() -> ModelConfig {
    ModelConfig {
        stem: Some(Stem::Cifar),
        widths: Some([8, 16, 24, 32, 48].into()),
        repeats: vec![1, 1, 1],
        ..ModelConfig::default()
    }
}

/// Launches of the second and the third step of x0.5 with the cifar stem and plain SGD.
fn second_and_third_step() -> &'static [Launches; 2] {
    static COUNTED: OnceLock<[Launches; 2]> = OnceLock::new();
    COUNTED.get_or_init(|| of_two_steps(OptimizerConfig::default()))
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
fn forward_loss_and_backward_are_few_launches() {
    let [step, _] = second_and_third_step();
    for (part, count) in &step.by_part {
        println!("{part:<10} {count:>5}");
    }
    println!("{:<10} {:>5}", "step", step.total);
    for (kernel, count) in &step.by_kernel {
        println!("{count:>5}  {kernel}");
    }
    let found = step.of("forward") + step.of("loss") + step.of("backward");
    assert!(found > 0 && found <= AT_MOST, "{found}, {:?}", step.by_part);
    assert_eq!(step.of("images"), 0, "an upload is not a launch");
}

/// The number does not depend on the number of tensors. Clipping is on, and some parameters have their own rate and decay.
#[test]
fn an_optimizer_and_the_average_are_few_launches() {
    for kind in ["sgd", "adamw", "lion"] {
        let optimizer = format!(
            r#"{{"kind": "{kind}", "clip_norm": 1.0, "decay_norm_and_bias": false,
                "parts": [{{"names": "fc.*", "rate": 2.0, "decay": 0.5}}]}}"#
        );
        let config = LearnerConfig {
            optimizer: serde_json::from_str(&optimizer).unwrap(),
            average_decay: Some(0.9),
            ..LearnerConfig::default()
        };
        let [_, step] = of_two_steps(config);
        for part in ["optimizer", "average"] {
            let found = step.of(part);
            println!("{kind}, {part}: {found}");
            assert!(
                found > 0 && found <= MOST_OF_AN_OPTIMIZER,
                "{kind}, {part}: {found}"
            );
        }
    }
}

/// Muon stacks matrices of equal shape, so its launches depend on the number of shapes.
#[test]
fn muon_is_few_launches() {
    let optimizer = serde_json::from_str(r#"{"kind": "muon"}"#).unwrap();
    let [_, step] = of_two_steps(LearnerConfig {
        optimizer,
        ..LearnerConfig::default()
    });
    let found = step.of("optimizer");
    println!("muon, optimizer: {found}");
    assert!(found > 0 && found <= MOST_OF_MUON, "{found}");
}

#[test]
fn a_whole_step_is_few_launches() {
    let [step, _] = second_and_third_step();
    assert!(step.total <= MOST_OF_A_STEP, "{:?}", step.by_part);
}

#[test]
fn dropout_smaller_images_and_accumulation_add_few_launches() {
    let device = gpu();
    let model = half_width();
    let features = model.widths().last;
    let batch = Batch::noise(0, 4, CIFAR, model.classes());
    let plain = || MicroBatch::from(batch.clone());
    let mut learner = fresh(&model, OptimizerConfig::default(), &device);
    let mut step = |parts: Vec<MicroBatch>| {
        let parts = parts.into_iter().map(Ok);
        let (taken, launches) = counted(&device, || learner.step(parts, 0.01));
        taken.unwrap();
        launches
    };
    step(vec![plain()]);
    let alone = step(vec![plain()]);
    let mask = Some(vec![1.0; 4 * features]);
    let dropout = step(vec![MicroBatch { mask, ..plain() }]);
    let smaller = step(vec![MicroBatch {
        size: Some(16),
        ..plain()
    }]);
    for (what, with) in [("dropout", dropout), ("smaller images", smaller)] {
        let added = with.total - alone.total;
        println!("{what}: {added}");
        assert!(added <= MOST_OF_AN_ADDITION, "{what}: {added}");
    }
    let twice = step(vec![plain(), plain()]);
    let of_images = alone.total - alone.of("optimizer");
    let added = twice.total - alone.total - of_images;
    println!("accumulation: {added}");
    assert!(added <= MOST_OF_AN_ADDITION, "{added}");
}

#[test]
fn a_batch_is_evaluated_in_few_launches() {
    let device = gpu();
    let model = half_width();
    let network = alone(|| ShuffleNetV2::new(&model, 0, &device).unwrap());
    let images = pixels(Batch::noise(0, 4, CIFAR, model.classes()), &device);
    let inference = Inference::new(&network);
    let (_, launches) = counted(&device, || inference.forward(images));
    println!("evaluation: {}", launches.total);
    assert!(launches.total <= MOST_OF_AN_EVALUATION, "{launches:?}");
}

#[test]
fn the_third_step_launches_the_kernels_of_the_second() {
    let [second, third] = second_and_third_step();
    assert_eq!(second, third);
}

/// Bytes of the device's memory that tensors hold.
fn bytes_in_use(device: &Device) -> u64 {
    device.sync().unwrap();
    let probe = Tensor::<1>::from_data([0.0], device).into_dispatch();
    let DispatchTensorKind::Cube(BackendTensor::Float(probe)) = probe.kind else {
        unreachable!("{device:?} is a device of CubeCL")
    };
    let report = probe.client.memory_report(MemoryScope::CurrentStream);
    let streams = report.streams.iter();
    streams
        .map(|stream| stream.pools.usage().bytes_in_use)
        .sum()
}

#[test]
fn step_fifty_holds_as_much_memory_as_step_three() {
    let device = gpu();
    let model = small();
    let shape = ImageShape {
        channels: 3,
        height: 16,
        width: 16,
    };
    let batch = Batch::noise(0, 4, shape, model.classes());
    let mut learner = fresh(&model, OptimizerConfig::default(), &device);
    let mut after = |steps: usize| {
        alone(|| {
            for _ in 0..steps {
                bench::step(&mut learner, &batch, None, 0.01).unwrap();
            }
            learner.settle().unwrap();
            bytes_in_use(&device)
        })
    };
    assert_eq!(after(3), after(47));
}

#[test]
fn a_benchmark_of_training_reports_launches_on_a_gpu_only() {
    let model = small();
    let timing = |device: &str| {
        let workload = Workload {
            batch: 4,
            size: [16, 16],
            steps: 1,
            warm_up: 1,
            ..Workload::new(model.clone(), device)
        };
        alone(|| bench::train(&workload).unwrap())
    };

    let found = timing(&gpu_name());
    println!("{found}");
    let json = serde_json::to_value(&found).unwrap();
    let parts = json["launches_by_part"].as_object().unwrap();
    let sum: u64 = parts.values().map(|count| count.as_u64().unwrap()).sum();
    assert!(parts["forward"].as_u64() > Some(0), "{json}");
    assert_eq!(json["launches"].as_u64(), Some(sum), "{json}");
    assert_eq!(json["launches_by_kernel"].as_object().unwrap().len(), 10);
    assert!(json["enqueue_ms"].as_f64() > Some(0.0), "{json}");
    assert!(found.to_string().contains("\nlaunches "), "{found}");

    // Stem, units and head are kernels of this project, in the forward and the backward. Loss and optimizer are Burn's.
    let sum = |sums: &str| -> u64 {
        let sums = json[sums].as_object().unwrap();
        sums.values().map(|bytes| bytes.as_u64().unwrap()).sum()
    };
    let bytes = json["bytes"].as_u64().unwrap();
    assert_eq!([sum("bytes_by_part"), sum("bytes_by_kernel")], [bytes; 2]);
    let parts = &json["bytes_by_part"];
    assert!(parts["forward"].as_u64() > Some(0), "{json}");
    assert!(parts["backward"].as_u64() > parts["forward"].as_u64());
    assert!(found.to_string().contains("\nbytes "), "{found}");

    let found = timing("flex");
    let json = serde_json::to_value(&found).unwrap();
    assert!(json.get("launches").is_none() && json.get("enqueue_ms").is_none());
    assert!(!found.to_string().contains("launches"), "{found}");
}
