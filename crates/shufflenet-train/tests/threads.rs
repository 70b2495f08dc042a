//! Test that the number of threads changes no bit of the weights.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod noise;

use std::rc::Rc;

use burn::tensor::Device;
use shufflenet_model::{
    Inference, ModelConfig, Precision, Scale, ShuffleNetV2, Stem, to_safetensors,
};
use shufflenet_train::recipe::distill::{DistillKind, DistillLoss};
use shufflenet_train::recipe::optimizer::OptimizerConfig;
use shufflenet_train::step::classifier::MicroBatch;
use shufflenet_train::step::learner::{Learner, LearnerConfig};
use shufflenet_train::step::teacher::{Member, Teacher};

use noise::batch;

/// A teacher of the same architecture.
fn teacher(model: &ModelConfig, precision: Precision) -> Teacher {
    let network = ShuffleNetV2::new(model, 2, &Device::flex()).unwrap();
    let member = Member {
        network: Inference::with_precision(&network, precision),
        conversion: None,
    };
    let law = DistillLoss {
        kind: DistillKind::Standardized,
        temperature: 2.0,
        weight: 1.0,
        label_weight: 0.5,
    };
    Teacher::new(vec![member], model.classes(), law)
}

/// The weights after `steps` steps of `images` images in a pool of `threads` threads, with labels alone or with a teacher.
fn trained(
    precision: Precision,
    threads: usize,
    images: usize,
    steps: u32,
    is_taught: bool,
) -> Vec<u8> {
    let model = ModelConfig {
        scale: Scale::One,
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(|| {
        let config = LearnerConfig {
            precision,
            ..OptimizerConfig::default().into()
        };
        let mut learner = Learner::fresh(&model, config, 1, &Device::flex()).unwrap();
        let teacher = is_taught.then(|| Rc::new(teacher(&model, precision)));
        for step in 0..steps {
            let images = MicroBatch {
                teacher: teacher.clone(),
                ..batch(step, images, 32).into()
            };
            learner.step([Ok(images)], 0.05).unwrap();
        }
        to_safetensors(&learner.classifier.network).unwrap()
    })
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    // 37 images do not divide into equal parts. The second run with two threads checks that a run repeats its bits.
    for precision in [Precision::F32, Precision::Bf16] {
        for (images, steps, others, is_taught) in [
            (128, 20, [2, 2], false),
            (37, 4, [2, 3], false),
            (37, 4, [2, 3], true),
        ] {
            let one = trained(precision, 1, images, steps, is_taught);
            for threads in others {
                assert!(
                    one == trained(precision, threads, images, steps, is_taught),
                    "{precision:?}, {images} images, {threads} threads, taught: {is_taught}"
                );
            }
        }
    }
}
