//! Tests of weight files in float16: their content, and that a network loads them like others.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use std::collections::BTreeMap;

use burn::tensor::{Device, Distribution, Tensor};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors};
use shufflenet_model::{
    ClassifierStart, ModelConfig, ShuffleNetV2, Stem, load_for_fine_tuning, load_safetensors,
    to_half_state_dict, to_safetensors, to_state_dict,
};

fn network(classes: usize, channels: usize, seed: u64) -> ShuffleNetV2 {
    let config = ModelConfig {
        stem: Some(Stem::Cifar),
        widths: Some([8, 16, 24, 32, 48].into()),
        repeats: vec![1, 1, 1],
        classes: Some(classes),
        input_channels: Some(channels),
        ..ModelConfig::default()
    };
    let device = Device::flex().autodiff();
    let network = ShuffleNetV2::new(&config, seed, &device).unwrap();
    // A forward pass changes the running statistics from their initial values.
    let distribution = Distribution::Normal(0.3, 2.0);
    network.forward(Tensor::random([8, channels, 16, 16], distribution, &device));
    network
}

/// Type, shape and values of each tensor, by name.
fn unpack(bytes: &[u8]) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<f32>)> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let unpacked = file.iter().map(|(name, view)| {
        let values = match view.dtype() {
            Dtype::F32 => {
                let values = view.data().as_chunks::<4>().0.iter();
                values.map(|bytes| f32::from_le_bytes(*bytes)).collect()
            }
            Dtype::F16 => {
                let values = view.data().as_chunks::<2>().0.iter();
                values
                    .map(|bytes| f16::from_le_bytes(*bytes).to_f32())
                    .collect()
            }
            _ => Vec::new(),
        };
        (
            name.to_string(),
            (view.dtype(), view.shape().to_vec(), values),
        )
    });
    unpacked.collect()
}

#[test]
fn all_but_running_variances_are_rounded_and_read_back() {
    let trained = network(10, 3, 1);
    let half = to_half_state_dict(&trained).unwrap();
    let (plain, narrow) = (unpack(&to_state_dict(&trained).unwrap()), unpack(&half));
    assert!(plain.keys().eq(narrow.keys()));
    for (name, (dtype, shape, values)) in &narrow {
        let (before, before_shape, exact) = &plain[name];
        assert_eq!(shape, before_shape, "{name}");
        let is_variance = name.ends_with("running_var");
        let expected = match before {
            Dtype::F32 if !is_variance => Dtype::F16,
            other => *other,
        };
        assert_eq!(*dtype, expected, "{name}");
        let rounded = exact.iter().map(|&value| match is_variance {
            true => value,
            false => f16::from_f32(value).to_f32(),
        });
        assert!(rounded.eq(values.iter().copied()), "{name}");
    }
    let loaded = load_safetensors(network(10, 3, 2), &half).unwrap();
    let read = unpack(&to_safetensors(&loaded).unwrap());
    for (name, (dtype, _, values)) in read {
        assert_eq!(dtype, Dtype::F32);
        assert_eq!(values, narrow[&name].2, "{name}");
    }
    // A second rounding changes nothing.
    assert!(to_half_state_dict(&loaded).unwrap() == half);
}

#[test]
fn fine_tuning_from_float16_equals_fine_tuning_from_the_widened_file() {
    let half = to_half_state_dict(&network(10, 3, 1)).unwrap();
    let wide = load_safetensors(network(10, 3, 2), &half).unwrap();
    let wide = to_safetensors(&wide).unwrap();
    // The first case has other classes and grey images, the second the same classes in another order.
    let order: Vec<usize> = (0..10).rev().collect();
    for (classes, channels, start) in [
        (4, 1, ClassifierStart::Fresh),
        (10, 3, ClassifierStart::Rows(&order)),
    ] {
        let [from_half, from_wide] = [&half, &wide].map(|file| {
            let fresh = network(classes, channels, 3);
            let (started, _) = load_for_fine_tuning(fresh, file, start).unwrap();
            to_safetensors(&started).unwrap()
        });
        assert!(from_half == from_wide);
    }
}

#[test]
fn a_value_beyond_float16_is_refused_by_name() {
    let trained = network(10, 3, 1);
    let bytes = to_safetensors(&trained).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<(String, _)> = file
        .iter()
        .map(|(name, view)| (name.to_string(), view))
        .collect();
    let large: Vec<u8> = [7e4f32; 10].iter().flat_map(|x| x.to_le_bytes()).collect();
    for (name, view) in &mut tensors {
        if name == "fc.bias" {
            let shape = view.shape().to_vec();
            *view = safetensors::tensor::TensorView::new(Dtype::F32, shape, &large).unwrap();
        }
    }
    let bytes = safetensors::serialize(tensors, None).unwrap();
    let network = load_safetensors(trained, &bytes).unwrap();
    let line = to_half_state_dict(&network).unwrap_err().to_string();
    assert_eq!(line, "tensor `fc.bias` holds 70000: float16 ends at 65504");
}
