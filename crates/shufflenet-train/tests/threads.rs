//! The number of threads changes how long a step takes, and not one bit of what it gives.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod noise;

use burn::tensor::Device;
use shufflenet_model::{ModelConfig, Precision, Scale, Stem, to_safetensors};
use shufflenet_train::recipe::optimizer::OptimizerConfig;
use shufflenet_train::step::learner::{Learner, LearnerConfig};

use noise::batch;

/// The weights after some steps of so many images in a pool of that many threads.
fn trained(precision: Precision, threads: usize, images: usize, steps: u32) -> Vec<u8> {
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
        for step in 0..steps {
            learner
                .step([Ok(batch(step, images, 32).into())], 0.05)
                .unwrap();
        }
        to_safetensors(&learner.classifier.network).unwrap()
    })
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    // 37 images do not divide into parts of one size. The second run of two threads is to be like
    // the first.
    for precision in [Precision::F32, Precision::Bf16] {
        for (images, steps, others) in [(128, 20, [2, 2]), (37, 4, [2, 3])] {
            let one = trained(precision, 1, images, steps);
            for threads in others {
                assert!(
                    one == trained(precision, threads, images, steps),
                    "{precision:?}, {images} images, {threads} threads"
                );
            }
        }
    }
}
