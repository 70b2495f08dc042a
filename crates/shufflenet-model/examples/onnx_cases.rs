//! Writes networks as ONNX, each beside images and the logits that the network itself gives for them: what
//! `onnx-check` (tract) and `scripts/check_onnx.py` (ONNX Runtime) hold to each other.
//!
//! `cargo run --release --example onnx_cases -- DIR`: every width in both layouts with the cifar stem, and
//! in the smallest one the other stems, squeeze-and-excitation, and unequal splits; each for images of one
//! size and, as `NAME-dynamic`, for images of any size.

use std::collections::HashMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use shufflenet_model::{Layout, ModelConfig, Scale, ShuffleNetV2, Sizes, Stem, to_onnx};

const BATCH: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: onnx_cases DIR")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    for layout in [Layout::Standard, Layout::Seed] {
        let plain = ModelConfig {
            layout,
            scale: Scale::Half,
            stem: Some(Stem::Cifar),
            ..ModelConfig::default()
        };
        for scale in Scale::ALL {
            let config = ModelConfig {
                scale,
                ..plain.clone()
            };
            write(folder, &format!("{layout}-{scale}"), &config, 32)?;
        }
        for (stem, size) in [(Stem::Imagenet, 96), (Stem::Seed, 97)] {
            let config = ModelConfig {
                stem: Some(stem),
                classes: Some(100),
                ..plain.clone()
            };
            write(folder, &format!("{layout}-0.5-{stem}"), &config, size)?;
        }
        let squeezing = ModelConfig {
            squeeze_excitation: true,
            ..plain.clone()
        };
        write(folder, &format!("{layout}-0.5-se"), &squeezing, 32)?;
        let split = ModelConfig {
            split_ratio: 0.25,
            input_channels: Some(1),
            residual: Some(true),
            ..squeezing
        };
        write(folder, &format!("{layout}-0.5-se-split"), &split, 28)?;
    }
    Ok(())
}

fn write(
    folder: &Path,
    name: &str,
    config: &ModelConfig,
    size: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex();
    let shape = [BATCH, config.input_channels(), size, size];
    let network = ShuffleNetV2::new(config, 7, &device.clone().autodiff())?;
    // Steps in training move the running statistics away from 0 and 1.
    for seed in 0..3 {
        network.forward(noise(seed, shape, &device.clone().autodiff()));
    }
    let images = noise(9, shape, &device);
    let logits = network.valid().forward(images.clone());
    let properties = [("model", config.to_string())];
    let onnx = to_onnx(&network, [size, size], Sizes::Fixed, &properties)?;
    std::fs::write(folder.join(format!("{name}.onnx")), onnx)?;
    write_case(folder, name, images, logits)?;
    // The same weights for images of any size, tried with wide ones.
    let name = format!("{name}-dynamic");
    let wide = noise(
        10,
        [BATCH, config.input_channels(), size + 8, size + 40],
        &device,
    );
    let logits = network.valid().forward(wide.clone());
    let onnx = to_onnx(&network, [size, size], Sizes::Dynamic, &properties)?;
    std::fs::write(folder.join(format!("{name}.onnx")), onnx)?;
    write_case(folder, &name, wide, logits)
}

fn write_case(
    folder: &Path,
    name: &str,
    images: Tensor<4>,
    logits: Tensor<2>,
) -> Result<(), Box<dyn std::error::Error>> {
    let tensors = [
        ("images", images.dims().to_vec(), bytes(images)),
        ("logits", logits.dims().to_vec(), bytes(logits)),
    ];
    let mut views = HashMap::new();
    for (name, shape, bytes) in &tensors {
        views.insert(*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?);
    }
    let file = safetensors::serialize(views, None)?;
    Ok(std::fs::write(
        folder.join(format!("{name}.safetensors")),
        file,
    )?)
}

/// Uniform in -2 to 2.
fn noise(seed: u64, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || (generator.next_u32() >> 8) as f32 / 4_194_304.0 - 2.0;
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn bytes<const D: usize>(tensor: Tensor<D>) -> Vec<u8> {
    let data = tensor.into_data();
    data.iter::<f32>().flat_map(f32::to_le_bytes).collect()
}
