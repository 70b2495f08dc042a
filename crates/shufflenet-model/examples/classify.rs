//! Classifies one image with a weight file that PyTorch (or `shufflenet train`) wrote:
//! `cargo run --release --example classify -- model.safetensors`. Without one, the weights are random.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;

use burn::tensor::{Device, Tensor, activation::softmax};
use shufflenet_model::{ModelConfig, ShuffleNetV2, Stem, load_safetensors};

fn main() -> Result<(), Box<dyn Error>> {
    let config = ModelConfig {
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    };
    let device = Device::flex();
    let mut network = ShuffleNetV2::new(&config, 0, &device)?;
    if let Some(file) = std::env::args().nth(1) {
        network = load_safetensors(network, &std::fs::read(file)?)?;
    }

    // Normalised as in training: [batch, channels, height, width].
    let image = Tensor::<4>::zeros([1, 3, 32, 32], &device);
    let probabilities = softmax(network.forward(image), 1);

    let (probability, class) = probabilities.max_dim_with_indices(1);
    println!("class {class}, probability {probability}");
    Ok(())
}
