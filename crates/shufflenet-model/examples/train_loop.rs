//! Trains inside a Burn loop of one's own: `cargo run --release --example train_loop`.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor};
use shufflenet_model::{ModelConfig, Scale, ShuffleNetV2, Stem, to_safetensors};

fn main() -> Result<(), Box<dyn Error>> {
    let config = ModelConfig {
        scale: Scale::Half,
        stem: Some(Stem::Cifar),
        ..ModelConfig::default()
    };
    config.check_training_batch(8, 32, 32)?;
    let device = Device::flex().autodiff();
    let mut network = ShuffleNetV2::new(&config, 0, &device)?;
    let mut optimizer = SgdConfig::new().init();
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);

    let images = Tensor::<4>::random([8, 3, 32, 32], Distribution::Default, &device);
    let labels = Tensor::<1, Int>::arange(0..8, &device);
    for step in 1..=5 {
        let loss = cross_entropy.forward(network.forward(images.clone()), labels.clone());
        println!("step {step}: loss {:.3}", loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(0.05, network, gradients);
    }

    let classifying = network.valid(); // batch norm by its running statistics
    println!("{} bytes of weights", to_safetensors(&classifying)?.len());
    Ok(())
}
