//! PyTorch's results, and the inputs that they were computed from.
//!
//! Weights, images, labels and dropout masks are not stored. `scripts/parity_fixtures.py` fills them by a formula,
//! which this file repeats bit for bit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;
use shufflenet_data::{Batch, ImageShape};
use shufflenet_model::{ModelConfig, ShuffleNetV2, load_safetensors, to_safetensors};
use shufflenet_train::recipe::optimizer::OptimizerConfig;

/// Tensors by name, in PyTorch's order.
pub type Tensors = BTreeMap<String, Vec<f64>>;

/// A network and PyTorch's results for it, in float64.
#[derive(Deserialize)]
pub struct Fixture {
    pub model: ModelConfig,
    pub height: usize,
    pub width: usize,
    pub batch: usize,
    salt: u32,
    /// Version of PyTorch, as information.
    #[serde(rename = "reference")]
    _reference: BTreeMap<String, String>,
    pub parameters: usize,
    pub multiply_adds: usize,
    pub optimizer: OptimizerConfig,
    pub pytorch_float32_error: BTreeMap<String, f64>,
    pub training_loss: f64,
    /// The loss before each step.
    pub losses: Vec<f64>,
    /// Norm of each gradient of the first step. It is 0 if the gradient is zero by construction (float32 computes
    /// rounding errors).
    pub gradient_norms: BTreeMap<String, f64>,
    #[serde(skip)]
    pub tensors: Tensors,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

impl Fixture {
    pub fn read(name: &str) -> Self {
        let file = |extension: &str| folder().join(format!("{name}.{extension}"));
        let json = std::fs::read_to_string(file("json")).unwrap();
        let tensors = std::fs::read(file("safetensors")).unwrap();
        Self {
            tensors: unpack(&tensors),
            ..serde_json::from_str(&json).unwrap()
        }
    }

    /// The network with the formula's weights, loaded from a weight file.
    pub fn network(&self, device: &Device) -> ShuffleNetV2 {
        let network = ShuffleNetV2::new(&self.model, 0, device).unwrap();
        let template = to_safetensors(&network).unwrap();
        let template = SafeTensors::deserialize(&template).unwrap();
        let tensors: Vec<(&str, Vec<usize>, Vec<u8>)> = template
            .iter()
            .map(|(name, view)| {
                let values = weights(name, view.shape(), self.salt);
                let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                (name, view.shape().to_vec(), bytes)
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (*name, view.unwrap())
        });
        load_safetensors(network, &safetensors::serialize(views, None).unwrap()).unwrap()
    }

    pub fn batch(&self) -> Batch {
        let shape = ImageShape {
            channels: self.model.input_channels(),
            height: self.height,
            width: self.width,
        };
        let count = self.batch * shape.channels * shape.height * shape.width;
        let labels = hashes("labels", self.salt).map(|h| (h % self.model.classes() as u32) as u16);
        Batch {
            pixels: signed("images", self.salt)
                .map(|s| (2.0 * s) as f32)
                .take(count)
                .collect(),
            labels: labels.take(self.batch).collect(),
            shape,
            mix: None,
            share: None,
        }
    }

    /// The factors by which dropout multiplies the pooled features.
    pub fn mask(&self, device: &Device) -> Tensor<2> {
        let rate = self.model.dropout;
        let features = self.model.widths().last;
        let kept = |s: f64| (s + 1.0) / 2.0 >= rate;
        let values: Vec<f32> = signed("dropout", self.salt)
            .map(|s| if kept(s) { 1.0 / (1.0 - rate) } else { 0.0 } as f32)
            .take(self.batch * features)
            .collect();
        Tensor::from_data(TensorData::new(values, [self.batch, features]), device)
    }
}

/// The float32 tensors of a safetensors file.
pub fn unpack(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let (values, _) = view.data().as_chunks::<4>();
            let values = values.iter().map(|b| f64::from(f32::from_le_bytes(*b)));
            (name.to_string(), values.collect())
        })
        .collect()
}

/// The values `h(i)` of the formula, for `i` from 0.
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

/// The values `s(i)` of the formula, for `i` from 0.
pub fn signed(name: &str, salt: u32) -> impl Iterator<Item = f64> {
    hashes(name, salt).map(|h| f64::from(h >> 8) / f64::from(1 << 23) - 1.0)
}

/// The values of a parameter or running statistic of the network.
fn weights(name: &str, shape: &[usize], salt: u32) -> Vec<f32> {
    let fan_in: usize = shape.iter().skip(1).product();
    let value = |s: f64| {
        let value = if shape.len() > 1 {
            s * (3.0 / fan_in as f64).sqrt()
        } else if name.ends_with("running_var") || name.ends_with("weight") {
            1.0 + s / 4.0
        } else if name.ends_with("running_mean") || name == "fc.bias" {
            s / 10.0
        } else {
            1.5 + s / 2.0
        };
        value as f32
    };
    let count = shape.iter().product();
    signed(name, salt).map(value).take(count).collect()
}
