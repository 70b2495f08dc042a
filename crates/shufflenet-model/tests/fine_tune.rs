//! Tests of fine-tuning from the weights of another task: the tensors that are loaded, refused or frozen.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

use burn::tensor::{Device, Distribution, Tensor};
use shufflenet_model::{
    ClassifierStart, ModelConfig, ShuffleNetV2, Stem, load_for_fine_tuning, load_safetensors,
    parameters, to_safetensors,
};

fn network(classes: usize, channels: usize, seed: u64, device: &Device) -> ShuffleNetV2 {
    let config = ModelConfig {
        stem: Some(Stem::Cifar),
        widths: Some([8, 16, 24, 32, 48].into()),
        repeats: vec![1, 1, 1],
        classes: Some(classes),
        input_channels: Some(channels),
        ..ModelConfig::default()
    };
    ShuffleNetV2::new(&config, seed, device).unwrap()
}

fn largest_difference(a: Tensor<2>, b: Tensor<2>) -> f32 {
    (a - b).abs().max().into_scalar()
}

#[test]
fn all_weights_are_loaded_except_a_classifier_for_other_classes() {
    let device = Device::flex();
    let old = network(10, 3, 1, &device);
    let fresh = network(4, 3, 2, &device);
    let bytes = to_safetensors(&old).unwrap();
    let (new, notes) = load_for_fine_tuning(fresh.clone(), &bytes, ClassifierStart::Fresh).unwrap();
    assert!(notes.is_empty());
    let images = Tensor::<4>::random([2, 3, 16, 16], Distribution::Default, &device);
    assert_eq!(
        largest_difference(old.features(images.clone()), new.features(images)),
        0.0
    );
    let weight = |network: &ShuffleNetV2| network.classifier.weight.val();
    assert_eq!(largest_difference(weight(&new), weight(&fresh)), 0.0);
    // For the same classes, all weights are loaded.
    let same: Vec<usize> = (0..10).collect();
    let same = ClassifierStart::Rows(&same);
    let (same, _) = load_for_fine_tuning(network(10, 3, 3, &device), &bytes, same).unwrap();
    assert_eq!(to_safetensors(&same).unwrap(), bytes);
    // Other classes of the same number are other classes, too.
    let fresh = network(10, 3, 3, &device);
    let (new, _) = load_for_fine_tuning(fresh.clone(), &bytes, ClassifierStart::Fresh).unwrap();
    assert_eq!(largest_difference(weight(&new), weight(&fresh)), 0.0);
}

#[test]
fn a_classifier_of_permuted_classes_gives_permuted_logits() {
    let device = Device::flex();
    let old = network(3, 3, 1, &device);
    let bytes = to_safetensors(&old).unwrap();
    let rows = ClassifierStart::Rows(&[2, 0, 1]);
    let (new, _) = load_for_fine_tuning(network(3, 3, 2, &device), &bytes, rows).unwrap();
    let images = Tensor::<4>::random([2, 3, 16, 16], Distribution::Default, &device);
    let logits = |network: &ShuffleNetV2| -> Vec<f32> {
        network
            .forward(images.clone())
            .into_data()
            .try_to_vec()
            .unwrap()
    };
    let (old, new) = (logits(&old), logits(&new));
    for (old, new) in old.chunks(3).zip(new.chunks(3)) {
        assert_eq!(new, [old[2], old[0], old[1]]);
    }
    // A row that the file lacks is refused by shape.
    let rows = ClassifierStart::Rows(&[2, 0, 7]);
    assert!(load_for_fine_tuning(network(3, 3, 2, &device), &bytes, rows).is_err());
}

#[test]
fn a_grey_network_from_colour_weights_gives_the_colour_networks_logits() {
    let device = Device::flex();
    let colour = network(10, 3, 1, &device);
    let bytes = to_safetensors(&colour).unwrap();
    let (grey, notes) =
        load_for_fine_tuning(network(10, 1, 2, &device), &bytes, ClassifierStart::Fresh).unwrap();
    assert_eq!(notes, ["`conv1.0.weight` is added up over 3 colours"]);
    let images = Tensor::<4>::random([2, 1, 16, 16], Distribution::Default, &device);
    let coloured = images.clone().repeat_dim(1, 3);
    let difference = largest_difference(colour.features(coloured), grey.features(images));
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn a_tensor_that_does_not_fit_is_refused_by_name() {
    let device = Device::flex();
    let bytes = to_safetensors(&network(10, 1, 1, &device)).unwrap();
    let refused = load_for_fine_tuning(network(10, 3, 2, &device), &bytes, ClassifierStart::Fresh);
    let line = refused.err().unwrap().to_string();
    assert!(line.contains("`conv1.0.weight` is [8, 1, 3, 3]"), "{line}");
}

#[test]
fn frozen_parts_keep_their_statistics_and_get_no_gradient() {
    let device = Device::flex().autodiff();
    let network = network(10, 3, 1, &device).freeze_parts(|name| !name.starts_with("fc."));
    let images = Tensor::<4>::random([4, 3, 16, 16], Distribution::Default, &device);
    let before = to_safetensors(&network).unwrap();
    let gradients = network.forward(images).sum().backward();
    assert!(network.classifier.weight.val().grad(&gradients).is_some());
    let stem = network.stem.conv.weight.val();
    assert!(stem.grad(&gradients).is_none());
    assert!(
        to_safetensors(&network).unwrap() == before,
        "the statistics changed"
    );
    // A frozen network can be loaded, and its parameters can be listed.
    assert_eq!(
        parameters(&network).len(),
        parameters(&load_safetensors(network, &before).unwrap()).len()
    );
}
