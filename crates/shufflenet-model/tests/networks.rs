//! Tests of the networks' public behaviour: shapes, modes, gradients, initial weights, configurations.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod noise;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use shufflenet_model::{Layout, ModelConfig, Scale, ShuffleNetV2, Stem, parameters};

use noise::noise;

fn config(layout: Layout, scale: Scale, stem: Stem) -> ModelConfig {
    ModelConfig {
        layout,
        scale,
        stem: Some(stem),
        ..ModelConfig::default()
    }
}

/// The narrowest published network, with 10 classes.
fn smallest(device: &Device) -> ShuffleNetV2 {
    let config = config(Layout::Standard, Scale::Half, Stem::Cifar);
    ShuffleNetV2::new(&config, 1, device).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn feature_map_gives_the_size_of_the_last_map() {
    for layout in [Layout::Standard, Layout::Seed] {
        for stem in [Stem::Imagenet, Stem::Seed, Stem::Cifar] {
            let config = config(layout, Scale::Half, stem);
            let network = ShuffleNetV2::new(&config, 0, &Device::flex()).unwrap();
            for [height, width] in [[32, 32], [33, 47], [5, 64]] {
                let mut x = network
                    .stem
                    .forward(noise(3, [1, 3, height, width], &Device::flex()));
                if let Some(pool) = &network.pool {
                    x = pool.forward(x);
                }
                let map = network
                    .stages
                    .iter()
                    .fold(x, |x, stage| stage.forward(x))
                    .dims();
                let promised = config.feature_map(height, width).unwrap();
                assert_eq!([map[2], map[3]], promised, "{stem} {height}x{width}");
            }
        }
    }
}

#[test]
fn published_image_sizes_give_the_published_map_sizes() {
    let of = |stem, size| {
        let config = config(Layout::Standard, Scale::Half, stem);
        config.feature_map(size, size).unwrap()
    };
    assert_eq!(of(Stem::Imagenet, 224), [7, 7]);
    assert_eq!(of(Stem::Seed, 224), [7, 7]);
    assert_eq!(of(Stem::Cifar, 32), [4, 4]);
    assert_eq!(of(Stem::Imagenet, 32), [1, 1]);
    assert_eq!(of(Stem::Seed, 32), [1, 1]);
}

#[test]
fn the_published_networks_have_even_widths_throughout() {
    for layout in [Layout::Standard, Layout::Seed] {
        for scale in [Scale::Half, Scale::One, Scale::OneAndHalf, Scale::Two] {
            let config = config(layout, scale, Stem::Imagenet);
            assert!(!config.has_odd_widths(), "{config:?}");
        }
    }
    let odd = |widths: [usize; 5], split_ratio| {
        let config = ModelConfig {
            widths: Some(widths.into()),
            split_ratio,
            ..ModelConfig::default()
        };
        config.has_odd_widths()
    };
    // In each case another width is odd: of the stem, of a branch, of a unit's left channels, of the last convolution.
    assert!(odd([9, 16, 24, 32, 48], 0.5));
    assert!(odd([8, 18, 24, 32, 48], 0.5));
    assert!(odd([8, 16, 24, 32, 48], 0.3));
    assert!(odd([8, 16, 24, 32, 49], 0.5));
    assert!(!odd([8, 16, 24, 32, 48], 0.5));
}

#[test]
fn networks_take_any_number_of_channels_and_classes() {
    for (input_channels, classes) in [(1, 2), (4, 37), (5, 1)] {
        let config = ModelConfig {
            input_channels: Some(input_channels),
            classes: Some(classes),
            ..config(Layout::Seed, Scale::Half, Stem::Cifar)
        };
        let network = ShuffleNetV2::new(&config, 0, &Device::flex()).unwrap();
        let logits = network.forward(noise(3, [2, input_channels, 9, 9], &Device::flex()));
        assert_eq!(logits.dims(), [2, classes]);
    }
}

#[test]
fn the_seed_layout_widens_after_the_downsampling_unit_and_adds_only_at_equal_widths() {
    let network = |layout| {
        let config = config(layout, Scale::One, Stem::Cifar);
        ShuffleNetV2::new(&config, 0, &Device::flex()).unwrap()
    };
    let residuals = |network: &ShuffleNetV2| -> Vec<Vec<bool>> {
        let of_stage = |units: &Vec<_>| {
            let units: &Vec<shufflenet_model::unit::BasicUnit> = units;
            units.iter().map(|unit| unit.residual).collect()
        };
        network
            .stages
            .iter()
            .map(|stage| of_stage(&stage.units))
            .collect()
    };
    let [standard, seed] = [Layout::Standard, Layout::Seed].map(network);
    assert!(
        residuals(&standard)
            .concat()
            .iter()
            .all(|residual| !residual)
    );
    assert_eq!(
        residuals(&seed)[0],
        [false, true, true],
        "48 to 116, then 116 to 116"
    );
    assert!(
        residuals(&seed)[1..]
            .concat()
            .iter()
            .all(|residual| *residual)
    );
    let first = &seed.stages[0].units[0];
    assert_eq!(first.left_channels, 24);
    assert_eq!(first.right.pointwise1.conv.weight.dims(), [92, 24, 1, 1]);
}

#[test]
fn a_seed_gives_the_same_weights_on_every_device() {
    let weights = |seed, device: &Device| {
        let config = config(Layout::Seed, Scale::Half, Stem::Cifar);
        let network = ShuffleNetV2::new(&config, seed, device).unwrap();
        shufflenet_model::to_safetensors(&network).unwrap()
    };
    let first = weights(5, &Device::flex());
    assert!(first == weights(5, &Device::flex().autodiff()));
    assert!(first != weights(6, &Device::flex()));
}

#[test]
fn initial_weights_are_within_their_bounds() {
    let network = smallest(&Device::flex());
    let within = |weights: Vec<f32>, fan_in: f32| {
        let bound = 1.0 / fan_in.sqrt();
        let most = weights.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        assert!(most <= bound && most > 0.8 * bound, "{most} of {bound}");
        let variance = weights.iter().map(|x| x * x).sum::<f32>() / weights.len() as f32;
        assert!((variance * 3.0 * fan_in - 1.0).abs() < 0.25, "{variance}");
    };
    let unit = &network.stages[1].units[0].right;
    within(values(network.stem.conv.weight.val()), 27.0);
    within(values(unit.pointwise1.conv.weight.val()), 48.0);
    within(values(unit.depthwise.conv.weight.val()), 9.0);
    within(values(network.classifier.weight.val()), 1024.0);
    let bias = values(network.classifier.bias.as_ref().unwrap().val());
    assert!(bias.iter().all(|x| x.abs() <= 1.0 / 32.0) && bias.iter().any(|x| *x != 0.0));
    assert!(
        values(unit.depthwise.norm.gamma.val())
            .iter()
            .all(|x| *x == 1.0)
    );
    assert!(
        values(unit.depthwise.norm.beta.val())
            .iter()
            .all(|x| *x == 0.0)
    );
}

#[test]
fn logits_depend_on_the_other_images_in_training_only() {
    let device = Device::flex();
    let network = smallest(&device.clone().autodiff());
    let images = noise(3, [3, 3, 16, 16], &device);
    let training = images.clone().into_data();
    let training = |count| {
        let images = Tensor::<4>::from_data(training.clone(), &device.clone().autodiff());
        values(network.forward(images.narrow(0, 0, count)).narrow(0, 0, 1))
    };
    assert_ne!(training(3), training(2));
    let inference = network.valid();
    let together = values(inference.forward(images.clone()).narrow(0, 0, 1));
    let alone = values(inference.forward(images.narrow(0, 0, 1)));
    for (a, b) in together.iter().zip(alone) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0));
    }
}

#[test]
fn every_parameter_gets_a_gradient() {
    let device = Device::flex().autodiff();
    for layout in [Layout::Standard, Layout::Seed] {
        let config = config(layout, Scale::Half, Stem::Cifar);
        let network = ShuffleNetV2::new(&config, 2, &device).unwrap();
        let logits = network.forward(noise(3, [2, 3, 16, 16], &device));
        let gradients = (logits.clone() * logits).sum().backward();
        let gradients = burn::optim::GradientsParams::from_grads(gradients, &network);
        assert_eq!(gradients.len(), parameters(&network).len());
    }
}

/// A network whose classifier is the identity, so that the logits are the features.
fn transparent(device: &Device) -> ShuffleNetV2 {
    let config = ModelConfig {
        widths: Some([8, 16, 16, 16, 500].into()),
        repeats: vec![1, 1, 1],
        classes: Some(500),
        dropout: 0.3,
        ..config(Layout::Standard, Scale::Half, Stem::Cifar)
    };
    let mut network = ShuffleNetV2::new(&config, 0, device).unwrap();
    network.classifier.weight = Param::from_tensor(Tensor::eye(500, device));
    network.classifier.bias = None;
    network
}

#[test]
fn dropout_drops_its_share_in_training_only() {
    let device = Device::flex().autodiff();
    device.seed(3);
    let network = transparent(&device);
    let images = noise(3, [20, 3, 8, 8], &Device::flex()).into_data();
    let training = Tensor::from_data(images.clone(), &device);
    let features = values(network.features(training.clone()));
    let logits = values(network.forward(training));
    let alive = features.iter().zip(&logits).filter(|(x, _)| **x > 0.0);
    let (dropped, kept): (Vec<_>, Vec<_>) = alive.partition(|(_, y)| **y == 0.0);
    let count = (dropped.len() + kept.len()) as f64;
    assert!(count > 2_000.0, "{count}");
    // The tolerance is five standard deviations of a binomial share.
    let share = dropped.len() as f64 / count;
    assert!((share - 0.3).abs() < 5.0 * (0.21 / count).sqrt(), "{share}");
    for (x, y) in kept {
        assert!((y - x / 0.7).abs() <= 1e-4 * y.abs(), "{x} {y}");
    }
    let inference = network.valid();
    let images = Tensor::from_data(images, &Device::flex());
    let (features, logits) = (
        inference.features(images.clone()),
        inference.forward(images),
    );
    assert_eq!(features.into_data(), logits.into_data());
}

#[test]
fn configurations_are_read_and_written_as_documented() {
    let read = |text: &str| serde_json::from_str::<ModelConfig>(text);
    assert_eq!(read("{}").unwrap(), ModelConfig::default());
    assert_eq!(read(r#"{"scale": 2}"#).unwrap().scale, Scale::Two);
    assert_eq!(read(r#"{"scale": 0.5}"#).unwrap().scale, Scale::Half);
    assert_eq!(read(r#"{"layout": "seed"}"#).unwrap().stem(), Stem::Seed);
    assert_eq!(read(r#"{"stem": "cifar"}"#).unwrap().stem(), Stem::Cifar);
    let refusal = |text: &str| read(text).unwrap_err().to_string();
    assert!(
        refusal(r#"{"scale": 1.25}"#).starts_with("scale is 1.25; accepted: 0.5, 1.0, 1.5, 2.0")
    );
    assert!(refusal(r#"{"width": 1}"#).starts_with("unknown field `width`, expected one of"));
    assert!(refusal(r#"{"stem": "big"}"#).contains("`imagenet`, `seed`, `cifar`"));
    assert!(!read(r#"{"layout": "standard"}"#).unwrap().residual());
    assert!(read(r#"{"layout": "seed"}"#).unwrap().residual());
    assert!(
        !read(r#"{"layout": "seed", "residual": false}"#)
            .unwrap()
            .residual()
    );
    let custom = read(r#"{"widths": [8, 16, 32, 64, 99]}"#).unwrap();
    assert_eq!(custom.widths(), [8, 16, 32, 64, 99].into());
    let written = ModelConfig {
        split_ratio: 0.25,
        residual: Some(true),
        squeeze_excitation: true,
        dropout: 0.1,
        widths: Some([8, 16, 32, 64, 99].into()),
        repeats: vec![1, 0, 2],
        ..config(Layout::Seed, Scale::OneAndHalf, Stem::Cifar)
    };
    for written in [written, ModelConfig::default()] {
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(read(&text).unwrap(), written);
    }
}
