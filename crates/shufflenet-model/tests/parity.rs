//! The networks against PyTorch's, to 1e-5.
//!
//! `scripts/parity_fixtures.py` ran torchvision's network (standard layout) and the seed listing (seed
//! layout) in float64 and recorded the results; its opening paragraph has the formula for the weights
//! and images, repeated here to the last bit. Each fixture also records how far PyTorch's own float32
//! was from its float64: below 1e-6 throughout.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;
use shufflenet_model::{
    Layout, ModelConfig, Scale, ShuffleNetV2, Stem, load_safetensors, to_safetensors,
};

const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Fixture {
    layout: Layout,
    scale: Scale,
    stem: Stem,
    height: usize,
    width: usize,
    batch: usize,
    classes: usize,
    salt: u32,
    pytorch_float32_error: BTreeMap<String, f64>,
    expected: BTreeMap<String, Vec<f64>>,
}

/// `h(i)` of the formula, for `i` from 0.
fn hashes(name: &str, salt: u32) -> impl Iterator<Item = u32> {
    let fnv1a = |key: u32, byte: u8| (key ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let key = name.bytes().fold(0x811C_9DC5, fnv1a) ^ salt;
    (0u32..).map(move |i| {
        let mut h = key.wrapping_add(i.wrapping_mul(0x9E37_79B9));
        h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
        h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
        h ^ (h >> 16)
    })
}

/// The values of the tensor `name`, in PyTorch's order.
fn filled(name: &str, shape: &[usize], salt: u32) -> Vec<f32> {
    let fan_in: usize = shape.iter().skip(1).product();
    let value = |h: u32| {
        let s = f64::from(h >> 8) / f64::from(1 << 23) - 1.0;
        let value = if name == "images" {
            2.0 * s
        } else if shape.len() > 1 {
            s * (3.0 / fan_in as f64).sqrt()
        } else if name.ends_with("running_var") || name.ends_with("weight") {
            1.0 + s / 4.0
        } else if name.ends_with("running_mean") || name == "fc.bias" {
            s / 10.0
        } else {
            1.0 + s / 2.0
        };
        value as f32
    };
    let count = shape.iter().product();
    hashes(name, salt).map(value).take(count).collect()
}

impl Fixture {
    fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap()
    }

    /// The network with the formula's weights, by way of a weight file.
    fn network(&self, device: &Device) -> ShuffleNetV2 {
        let config = ModelConfig {
            layout: self.layout,
            scale: self.scale,
            stem: Some(self.stem),
            classes: self.classes,
            ..ModelConfig::default()
        };
        let network = ShuffleNetV2::new(&config, 0, device).unwrap();
        let template = to_safetensors(&network).unwrap();
        let template = SafeTensors::deserialize(&template).unwrap();
        let tensors: Vec<(&str, Vec<usize>, Vec<u8>)> = template
            .iter()
            .map(|(name, view)| {
                let values = filled(name, view.shape(), self.salt);
                let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                (name, view.shape().to_vec(), bytes)
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            (
                *name,
                TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
            )
        });
        load_safetensors(network, &safetensors::serialize(views, None).unwrap()).unwrap()
    }

    fn images(&self, device: &Device) -> Tensor<4> {
        let shape = [self.batch, 3, self.height, self.width];
        Tensor::from_data(
            TensorData::new(filled("images", &shape, self.salt), shape),
            device,
        )
    }

    fn labels(&self, device: &Device) -> Tensor<1, Int> {
        let labels: Vec<i64> = hashes("labels", self.salt)
            .take(self.batch)
            .map(|h| i64::from(h) % self.classes as i64)
            .collect();
        Tensor::from_data(TensorData::new(labels, [self.batch]), device)
    }

    /// Holds `actual`, or its beginning, to the record.
    fn check<const D: usize>(&self, name: &str, actual: Tensor<D>) {
        let expected = &self.expected[name];
        let actual: Vec<f64> = actual
            .into_data()
            .iter::<f64>()
            .take(expected.len())
            .collect();
        assert_eq!(actual.len(), expected.len(), "{name}");
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let difference = norm(&mut actual.iter().zip(expected).map(|(a, b)| a - b));
        let error = difference / norm(&mut expected.iter().copied());
        let pytorch = self.pytorch_float32_error[name];
        println!(
            "{} {} {} {name}: {error:.1e} (PyTorch's float32 {pytorch:.1e})",
            self.layout, self.scale, self.stem
        );
        assert!(pytorch < TOLERANCE / 10.0, "{name}: an unfit reference");
        assert!(error <= TOLERANCE, "{name}: {error:e}");
    }

    fn check_evaluation(&self, device: &Device) {
        let network = self.network(device);
        self.check("evaluation_logits", network.forward(self.images(device)));
    }

    /// The whole of a training step but the optimizer's part, and inference after `valid`.
    fn check_training(&self, device: &Device) {
        let training = device.clone().autodiff();
        let network = self.network(&training);
        let inference = network.valid();
        self.check("evaluation_logits", inference.forward(self.images(device)));
        let logits = network.forward(self.images(&training));
        let loss = CrossEntropyLossConfig::new()
            .init(&training)
            .forward(logits.clone(), self.labels(&training));
        self.check("training_logits", logits);
        self.check("training_loss", loss);
        let (first, last) = match self.layout {
            Layout::Standard => ("conv1.1", "conv5.1"),
            Layout::Seed => ("bn1", "bn_last"),
        };
        for (name, norm) in [(first, &network.stem.norm), (last, &network.last.norm)] {
            self.check(
                &format!("{name}.running_mean"),
                norm.running_mean.value_sync(),
            );
            self.check(
                &format!("{name}.running_var"),
                norm.running_var.value_sync(),
            );
        }
    }
}

#[test]
fn standard_layout_on_flex() {
    for json in [
        include_str!("fixtures/standard-0.5-cifar.json"),
        include_str!("fixtures/standard-1.0-cifar.json"),
        include_str!("fixtures/standard-0.5-imagenet.json"),
    ] {
        Fixture::read(json).check_training(&Device::flex());
    }
}

#[test]
fn seed_layout_on_flex() {
    for json in [
        include_str!("fixtures/seed-0.5-cifar.json"),
        include_str!("fixtures/seed-1.0-cifar.json"),
        include_str!("fixtures/seed-0.5-seed.json"),
    ] {
        Fixture::read(json).check_training(&Device::flex());
    }
}

#[test]
fn the_smallest_of_each_on_ndarray() {
    for json in [
        include_str!("fixtures/standard-0.5-cifar.json"),
        include_str!("fixtures/seed-0.5-cifar.json"),
    ] {
        Fixture::read(json).check_evaluation(&ndarray());
    }
}

#[expect(
    deprecated,
    reason = "supported, for comparison, as long as Burn has it"
)]
fn ndarray() -> Device {
    Device::ndarray()
}
