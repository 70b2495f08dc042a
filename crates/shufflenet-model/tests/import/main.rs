//! Tests of importing weights as people have them: beside objects of any type, as whole modules, with other names of the
//! classifier, with Megvii's names. Also, files that are not weights are refused.
//!
//! `scripts/import_fixtures.py` writes the fixtures.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod classifier;
mod containers;
mod megvii;
mod refusals;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use shufflenet_model::{
    Fit, ModelConfig, ShuffleNetV2, StateDict, Stem, infer_config, to_safetensors,
};

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import");
    fixtures.join(name)
}

/// The network that `weights` belong to, with `stem`, and how they fit.
fn imported(weights: &StateDict, stem: Stem) -> (ShuffleNetV2, Fit) {
    let config = ModelConfig {
        stem: Some(stem),
        ..infer_config(weights).unwrap()
    };
    let network = ShuffleNetV2::new(&config, 0, &Device::flex()).unwrap();
    weights.load(network).unwrap()
}

fn logits(network: &ShuffleNetV2, images: Vec<f32>, size: usize) -> Vec<f32> {
    let shape = [2, 3, size, size];
    let images = Tensor::<4>::from_data(TensorData::new(images, shape), &Device::flex());
    let logits = network.valid().forward(images).into_data();
    logits.iter::<f32>().collect()
}

/// The largest difference as a fraction of the largest expected value.
fn off(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |most, z| most.max(z.abs()));
    let pairs = found.iter().zip(expected);
    let off = pairs.map(|(&a, b)| (f64::from(a) - b).abs());
    off.fold(0.0, f64::max) / largest
}

/// Shape and values of each tensor, by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn config() -> ModelConfig {
    ModelConfig {
        widths: Some([4, 8, 8, 8, 8].into()),
        repeats: vec![1, 1, 1],
        classes: Some(3),
        input_channels: Some(3),
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    }
}

fn tensors_of(network: &ShuffleNetV2) -> Tensors {
    let bytes = to_safetensors(network).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &TensorView| {
        let chunks = view.data().as_chunks::<4>().0.iter();
        chunks.map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    file.iter()
        .map(|(name, view)| (name.to_string(), (view.shape().to_vec(), values(&view))))
        .collect()
}

fn packed(tensors: &Tensors) -> Vec<u8> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
        (name, view.unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn open(tensors: &Tensors) -> Result<StateDict, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, packed(tensors)).unwrap();
    StateDict::open(&path, None).map_err(|error| error.to_string())
}

/// The tensors under the names that `rename` gives.
fn renamed(tensors: &Tensors, rename: impl Fn(&str) -> String) -> Tensors {
    let tensors = tensors.iter();
    tensors
        .map(|(name, tensor)| (rename(name), tensor.clone()))
        .collect()
}
