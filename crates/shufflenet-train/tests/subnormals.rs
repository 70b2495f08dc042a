//! Tests that training treats subnormal numbers as zero, and that the caller's arithmetic stays as it is.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod noise;

use std::hint::black_box;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use shufflenet_model::{ModelConfig, Scale, ShuffleNetV2, Stem};
use shufflenet_train::device::machine;
use shufflenet_train::recipe::optimizer::{OptimizerConfig, OptimizerKind};
use shufflenet_train::step::classifier::{Classifier, MicroBatch};
use shufflenet_train::step::learner::Learner;

use noise::batch;

const SUBNORMAL: f32 = 1e-39;

/// Whether this thread computes subnormal results.
fn keeps_subnormals() -> bool {
    black_box(f32::MIN_POSITIVE) * black_box(0.5) > 0.0
}

/// One test, because a process sets its threads once, before it computes anything.
#[test]
fn training_treats_subnormals_as_zero_and_the_caller_does_not() {
    machine::use_threads(3);
    worker_threads_flush_subnormals_and_the_calling_thread_does_not();
    a_step_treats_subnormals_as_zero_with_every_optimizer();
}

fn worker_threads_flush_subnormals_and_the_calling_thread_does_not() {
    let kept = rayon::broadcast(|context| (context.index(), keeps_subnormals()));
    let kept: Vec<bool> = kept.into_iter().map(|(_, kept)| kept).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 1, "{kept:?}");
    assert!(keeps_subnormals());
}

/// Makes every weight of batch norm and every bias subnormal.
struct Vanish;

impl ModuleMapper for Vanish {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| match D {
            1 => Tensor::full(tensor.shape(), SUBNORMAL, &tensor.device())
                .set_require_grad(tensor.is_require_grad()),
            _ => tensor,
        })
    }
}

/// The classifier's biases after a step at rate 0, which changes no value that is not subnormal.
fn biases_after_a_step(kind: OptimizerKind) -> Vec<f32> {
    let device = Device::flex().autodiff();
    let model = ModelConfig {
        scale: Scale::Half,
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    };
    let network = ShuffleNetV2::new(&model, 0, &device).unwrap();
    let config = OptimizerConfig {
        kind,
        ..OptimizerConfig::default()
    };
    let mut learner = Learner::new(network.map(&mut Vanish), config.into(), &device, None).unwrap();
    let part = || {
        assert!(
            keeps_subnormals(),
            "images are made with subnormals flushed"
        );
        Ok(MicroBatch::from(batch(0, 4, 32)))
    };
    let tally = learner.step(std::iter::once_with(part), 0.0).unwrap();
    assert_eq!(tally.count, 4);
    assert!(keeps_subnormals());
    let Classifier { network } = learner.classifier;
    let bias = network.classifier.bias.unwrap().val().into_data();
    bias.iter().collect()
}

fn a_step_treats_subnormals_as_zero_with_every_optimizer() {
    for kind in [
        OptimizerKind::Sgd,
        OptimizerKind::AdamW,
        OptimizerKind::Lion,
        OptimizerKind::Muon,
    ] {
        let biases = biases_after_a_step(kind);
        let gone = biases.iter().all(|bias| bias.to_bits() << 1 == 0);
        assert!(gone, "{kind:?}: {biases:?}");
    }
}
