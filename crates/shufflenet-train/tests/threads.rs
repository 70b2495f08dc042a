//! The number of threads changes how long a step takes, and not one bit of what it gives.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use burn::tensor::Device;
use shufflenet_data::{Batch, ImageShape};
use shufflenet_model::{ModelConfig, Scale, Stem, to_safetensors};
use shufflenet_train::experiment::OptimizerConfig;
use shufflenet_train::learner::Learner;

/// A batch of CIFAR's shape, another for each step.
fn batch(step: u32, images: usize) -> Batch {
    let shape = ImageShape {
        channels: 3,
        height: 32,
        width: 32,
    };
    // Knuth's multiplicative hash: noise that is the same everywhere.
    let hash = |i: usize| (i as u32 + (step << 24)).wrapping_mul(2_654_435_761) >> 8;
    let pixel = |i| hash(i) as f32 / 8_388_608.0 - 1.0;
    Batch {
        pixels: (0..images * shape.values()).map(pixel).collect(),
        labels: (0..images).map(|i| (hash(i) % 10) as u16).collect(),
        shape,
    }
}

/// The weights after some steps of so many images in a pool of that many threads.
fn trained(threads: usize, images: usize, steps: u32) -> Vec<u8> {
    let model = ModelConfig {
        scale: Scale::One,
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(|| {
        let optimizer = OptimizerConfig::default();
        let mut learner = Learner::new(&model, &optimizer, 1, &Device::flex()).unwrap();
        for step in 0..steps {
            learner
                .step([Ok(batch(step, images).into())], 0.05)
                .unwrap();
        }
        to_safetensors(&learner.classifier.network).unwrap()
    })
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    // 37 images do not divide into parts of one size. The second run of two threads is to be like
    // the first.
    for (images, steps, others) in [(128, 20, [2, 2]), (37, 4, [2, 3])] {
        let one = trained(1, images, steps);
        for threads in others {
            assert!(
                one == trained(threads, images, steps),
                "{images} images, {threads} threads"
            );
        }
    }
}
