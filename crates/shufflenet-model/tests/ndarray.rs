//! Tests that Burn's older CPU backend computes the same as Flex. They need the cargo feature `ndarray`.
#![allow(
    clippy::unwrap_used,
    deprecated,
    reason = "the helpers of tests may panic like the tests; the backend is supported while Burn has it"
)]

use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use shufflenet_model::{ModelConfig, Scale, ShuffleNetV2, Stem, ranks, to_safetensors};

fn config() -> ModelConfig {
    ModelConfig {
        scale: Scale::Half,
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    }
}

fn noise(shape: [usize; 4]) -> TensorData {
    let device = Device::flex();
    device.seed(3);
    Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device).into_data()
}

fn logits(images: TensorData, device: &Device) -> Vec<f32> {
    let network = ShuffleNetV2::new(&config(), 1, device).unwrap();
    let logits = network.forward(Tensor::from_data(images, device));
    logits.into_data().iter::<f32>().collect()
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < tolerance, "{a} {b}");
    }
}

#[test]
fn ndarray_gives_the_logits_of_flex() {
    let images = noise([2, 3, 16, 16]);
    let [flex, ndarray] =
        [Device::flex(), Device::ndarray()].map(|device| logits(images.clone(), &device));
    assert_close(&ndarray, &flex, 1e-5);
}

#[test]
fn a_seed_gives_the_same_weights_on_ndarray_as_on_flex() {
    let weights = |device: &Device| {
        let network = ShuffleNetV2::new(&config(), 5, device).unwrap();
        to_safetensors(&network).unwrap()
    };
    assert!(weights(&Device::flex()) == weights(&Device::ndarray()));
}

/// Sums values over two threads that act as ranks.
fn sums() -> impl Fn(&mut [f64]) + Clone {
    let barrier = Arc::new(Barrier::new(2));
    let total = Arc::new(Mutex::new(Vec::<f64>::new()));
    move |values: &mut [f64]| {
        let mut sums = total.lock().unwrap();
        sums.resize(values.len(), 0.0);
        sums.iter_mut().zip(&*values).for_each(|(sum, x)| *sum += x);
        drop(sums);
        barrier.wait();
        values.copy_from_slice(&total.lock().unwrap());
        if barrier.wait().is_leader() {
            total.lock().unwrap().clear();
        }
        barrier.wait();
    }
}

#[test]
fn batch_norms_are_synchronised_over_ranks_on_ndarray() {
    let images = noise([4, 3, 16, 16]);
    let whole = logits(images.clone(), &Device::ndarray().autodiff());
    let images = Tensor::<4>::from_data(images, &Device::flex());
    let sum = sums();
    let shares = thread::scope(|scope| {
        let ranks = [0, 2].map(|first| {
            let (sum, share) = (sum.clone(), images.clone().narrow(0, first, 2).into_data());
            scope.spawn(move || {
                let work = || logits(share, &Device::ndarray().autodiff());
                ranks::summed_by(Rc::new(sum), work)
            })
        });
        ranks.map(|rank| rank.join().unwrap())
    });
    assert_close(&shares.concat(), &whole, 1e-4);
}
