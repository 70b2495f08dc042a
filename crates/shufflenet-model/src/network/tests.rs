//! Tests of the kernels of stem and head against the same parts in plain Burn operations, and of the inference chain
//! against the whole network.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, activation};

use super::*;
use crate::config::{Layout, Scale, Stem};
use crate::inference::Inference;
use crate::testing::{distance, gradient_stored, noise, stored, through_bf16, with_rounding};

fn network(stem: Stem, channels: usize, device: &Device) -> ShuffleNetV2 {
    let config = ModelConfig {
        scale: Scale::Half,
        stem: Some(stem),
        input_channels: Some(channels),
        ..ModelConfig::default()
    };
    ShuffleNetV2::new(&config, 3, device).unwrap()
}

/// Output, input gradient and the gradients of the convolution's three parameters, for a part of the
/// network.
fn part<const D: usize>(
    network: &ShuffleNetV2,
    forward: fn(&ShuffleNetV2, Tensor<4>) -> Tensor<D>,
    conv: fn(&ShuffleNetV2) -> &ConvNorm,
    x: &Tensor<4>,
) -> (Tensor<D>, Tensor<4>, [Tensor<1>; 3]) {
    let x = x.clone().detach().require_grad();
    let y = forward(network, x.clone());
    let weights = noise(9, y.dims(), &y.device());
    let mut gradients = (y.clone() * weights).sum().backward();
    let dx = x.grad_remove(&mut gradients).unwrap();
    let gradients = GradientsParams::from_grads(gradients, network);
    let ConvNorm { conv, norm, .. } = conv(network);
    let flat = |gradient: Option<Tensor<4>>| gradient.unwrap().reshape([-1]);
    let of_norm = |id| gradients.get::<1>(id).unwrap();
    let all = [
        flat(gradients.get::<4>(conv.weight.id)),
        of_norm(norm.gamma.id),
        of_norm(norm.beta.id),
    ];
    (y.inner(), dx, all)
}

fn assert_same<const D: usize>(
    (y, dx, gradients): (Tensor<D>, Tensor<4>, [Tensor<1>; 3]),
    (plain_y, plain_dx, plain_gradients): (Tensor<D>, Tensor<4>, [Tensor<1>; 3]),
    tolerance: f32,
    what: &str,
) {
    let close = |error: f32, name: &str| assert!(error < tolerance, "{what}, {name}: {error:e}");
    close(distance(&y, &plain_y), "output");
    close(distance(&dx, &plain_dx), "input gradient");
    for (name, (a, b)) in ["weight", "gamma", "beta"]
        .into_iter()
        .zip(gradients.into_iter().zip(plain_gradients))
    {
        close(distance(&a, &b), name);
    }
}

/// Largest accepted distance of a part in bfloat16 from a plain part that rounds the values that the kernel stores: the
/// convolution's output, the part's output, and their gradients. Sums in another order round a few values to the neighbour.
const ROUNDED: f32 = 5e-4;

/// Batch norm and ReLU of the convolution's stored output.
fn rounded(conv: &ConvNorm, x: Tensor<4>) -> Tensor<4> {
    let y = stored(conv.conv.forward(x));
    activation::relu(gradient_stored(conv.norm.forward(y)))
}

fn rounded_stem(network: &ShuffleNetV2, images: Tensor<4>) -> Tensor<4> {
    let x = rounded(&network.stem, images);
    through_bf16(match &network.pool {
        Some(pool) => pool.forward(x),
        None => x,
    })
}

fn rounded_head(network: &ShuffleNetV2, x: Tensor<4>) -> Tensor<2> {
    global_average(rounded(&network.last, gradient_stored(x)))
}

#[test]
fn the_stem_kernel_equals_the_plain_stem() {
    let device = Device::flex().autodiff();
    // Batch, channels, height and width, with odd sizes, one image, one channel and many channels.
    for stem in [Stem::Imagenet, Stem::Seed, Stem::Cifar] {
        for shape in [[3, 3, 12, 16], [1, 1, 9, 11], [2, 7, 17, 8], [70, 3, 6, 6]] {
            let network = network(stem, shape[1], &device);
            let images = noise(4, shape, &device);
            let run = |forward| part(&network, forward, |network| &network.stem, &images);
            let what = format!("{stem} {shape:?}");
            assert_same(
                run(ShuffleNetV2::forward_stem),
                run(ShuffleNetV2::plain_stem),
                2e-5,
                &what,
            );
            let rounded = network.clone().with_precision(Precision::Bf16);
            let in_bf16 = |network: &ShuffleNetV2, images| {
                let out = network.forward_stem(images);
                assert_eq!(out.dtype(), DType::BF16);
                out.cast(DType::F32)
            };
            assert_same(
                part(&rounded, in_bf16, |network| &network.stem, &images),
                run(rounded_stem),
                ROUNDED,
                &format!("{what} in bf16"),
            );
        }
    }
}

#[test]
fn the_head_kernel_equals_the_plain_head() {
    let device = Device::flex().autodiff();
    let network = network(Stem::Cifar, 3, &device);
    for [batch, height, width] in [[5, 4, 4], [1, 3, 2], [33, 1, 1]] {
        let x = noise(4, [batch, 192, height, width], &device);
        let run = |forward| part(&network, forward, |network| &network.last, &x);
        let what = format!("{batch}x{height}x{width}");
        assert_same(
            run(ShuffleNetV2::forward_head),
            run(ShuffleNetV2::plain_head),
            2e-5,
            &what,
        );
        let x = through_bf16(x);
        let run = |forward| part(&network, forward, |network| &network.last, &x);
        assert_same(
            run(|network, x| network.forward_head(x.cast(DType::BF16))),
            run(rounded_head),
            with_rounding(ROUNDED),
            &format!("{what} in bf16"),
        );
    }
}

/// If equal values meet in a pooling window, the first of them gets the gradient, as in PyTorch.
#[test]
fn the_gradient_of_a_flat_image_goes_to_the_first_of_equal_values() {
    let device = Device::flex().autodiff();
    let network = network(Stem::Imagenet, 3, &device);
    let images = Tensor::<4>::ones([2, 3, 16, 16], &device);
    let run = |forward| part(&network, forward, |network| &network.stem, &images);
    let [(kernel, dx, _), (plain, plain_dx, _)] = [
        run(ShuffleNetV2::forward_stem),
        run(ShuffleNetV2::plain_stem),
    ];
    assert!(distance(&kernel, &plain) < 2e-5);
    assert!(distance(&dx, &plain_dx) < 2e-5);
}

/// Compares the chain that inference folds a network into with the network in plain Burn operations.
#[test]
fn the_inference_chain_equals_the_network() {
    // Layout, stem, widths, repeats and split ratio. The cases have odd maps, single images and one channel.
    let published = [24, 48, 96, 192, 1024];
    let odd = [10, 22, 38, 50, 33];
    let cases = [
        (Layout::Standard, Stem::Imagenet, published, [4, 8, 4], 0.5),
        (Layout::Seed, Stem::Seed, published, [4, 8, 4], 0.5),
        (Layout::Seed, Stem::Cifar, odd, [2, 1, 3], 0.3),
        (Layout::Standard, Stem::Cifar, odd, [1, 0, 2], 0.7),
    ];
    for (layout, stem, widths, repeats, split_ratio) in cases {
        for [count, channels, height, width] in [[4, 3, 33, 32], [1, 1, 40, 23], [19, 2, 9, 9]] {
            let config = ModelConfig {
                layout,
                stem: Some(stem),
                widths: Some(widths.into()),
                repeats: repeats.to_vec(),
                split_ratio,
                input_channels: Some(channels),
                ..ModelConfig::default()
            };
            let device = Device::flex().autodiff();
            let trained = ShuffleNetV2::new(&config, 3, &device).unwrap();
            // Make the running statistics differ from the initial ones.
            for seed in 0..3 {
                trained.forward(noise(seed, [4, channels, 33, 35], &device));
            }
            let images = noise(4, [count, channels, height, width], &Device::flex());
            let logits = Inference::new(&trained).forward(images.clone());
            let bytes = crate::to_safetensors(&trained).unwrap();
            // Kernels run only in training; outside the autodiff graph the network uses plain operations.
            let plain = ShuffleNetV2::new(&config, 3, &Device::flex()).unwrap();
            let plain = crate::load_safetensors(plain, &bytes).unwrap();
            let plain = plain.forward(images.clone());
            let error = distance(&logits, &plain);
            let what = format!("{layout:?} {stem} {count}x{channels}x{height}x{width}");
            assert!(error < 1e-5, "{what}: {error:e}");
            // An image's logits are bit-identical alone and in a batch.
            let last = Inference::new(&trained).forward(images.clone().narrow(0, count - 1, 1));
            let together = logits.clone().narrow(0, count - 1, 1);
            assert_eq!(last.into_data(), together.into_data(), "{what}");

            let in_bf16 = Inference::with_precision(&trained, Precision::Bf16);
            let rounded = in_bf16.forward(images.clone());
            let error = distance(&rounded, &logits);
            let bound = rounding(repeats.iter().sum());
            assert!(0.0 < error && error < bound, "{what} in bf16: {error:e}");
            let last = in_bf16.forward(images.narrow(0, count - 1, 1));
            let together = rounded.narrow(0, count - 1, 1);
            assert_eq!(last.into_data(), together.into_data(), "{what} in bf16");
        }
    }
}

/// Largest accepted relative distance of logits in bfloat16. A path from pixel to logit has one stored value in the
/// stem and two in each unit (there are three more units than the `repeats`). The rounding error of each value is at
/// most 2^-9 of it. The signs are random, so the squares of the errors add up. Three times the root of that sum is
/// accepted.
fn rounding(repeats: usize) -> f32 {
    let values = 1 + 2 * (3 + repeats);
    3.0 * (values as f32).sqrt() / 512.0
}

/// Networks with squeeze-and-excitation have no chain, so their inference is float32 and reports float32.
#[test]
fn inference_reports_the_precision_that_it_uses() {
    let device = Device::flex();
    for squeeze_excitation in [false, true] {
        let config = ModelConfig {
            scale: Scale::Half,
            stem: Some(Stem::Cifar),
            squeeze_excitation,
            ..ModelConfig::default()
        };
        let network = ShuffleNetV2::new(&config, 3, &device).unwrap();
        let [wide, narrow] = [Precision::F32, Precision::Bf16]
            .map(|precision| Inference::with_precision(&network, precision));
        assert_eq!(wide.precision(), Precision::F32);
        let served = !squeeze_excitation;
        assert_eq!(narrow.precision() == Precision::Bf16, served);
        let images = noise(4, [2, 3, 32, 32], &device);
        let [wide, narrow] = [wide, narrow].map(|inference| inference.forward(images.clone()));
        assert_eq!(wide.into_data() != narrow.into_data(), served);
    }
}

/// Parts without kernels (squeeze-and-excitation, frozen parts) compute in float32 between bfloat16 activations.
#[test]
fn in_bfloat16_weights_features_and_gradients_are_float32() {
    let device = Device::flex().autodiff();
    for (squeeze_excitation, frozen) in
        [(false, ""), (true, ""), (false, "conv1"), (false, "stage2")]
    {
        let config = ModelConfig {
            scale: Scale::Half,
            stem: Some(Stem::Cifar),
            squeeze_excitation,
            ..ModelConfig::default()
        };
        let what = format!("squeeze-and-excitation {squeeze_excitation}, frozen \"{frozen}\"");
        let network = ShuffleNetV2::new(&config, 3, &device).unwrap();
        let network = network.freeze_parts(|name| !frozen.is_empty() && name.starts_with(frozen));
        let images = noise(4, [6, 3, 16, 16], &device);
        let loss = |network: &ShuffleNetV2| {
            let features = network.features(images.clone());
            assert_eq!(features.dtype(), DType::F32, "{what}");
            let weights = noise(9, features.dims(), &device);
            let gradients = (features.clone() * weights).sum().backward();
            let gradients = GradientsParams::from_grads(gradients, network);
            let last = gradients.get::<4>(network.last.conv.weight.id).unwrap();
            assert_eq!(last.dtype(), DType::F32, "{what}");
            (features.inner(), gradients.len())
        };
        let (expected, count) = loss(&network);
        let rounded = network.clone().with_precision(Precision::Bf16);
        let (features, count_rounded) = loss(&rounded);
        assert_eq!(count, count_rounded, "{what}");
        let error = distance(&features, &expected);
        // A network with initial weights amplifies rounding errors.
        assert!(0.0 < error && error < 0.5, "{what}: {error}");
        // Inference is float32, and has the bits of a network in float32.
        let images = images.clone().inner();
        let [a, b] = [&network, &rounded].map(|network| network.valid().forward(images.clone()));
        assert_eq!(a.into_data(), b.into_data(), "{what}");
    }
}
