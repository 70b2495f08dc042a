//! Tests of each operation that has kernels on the CPU against the same operation on the GPU.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use shufflenet_model::batch_norm::CONFIG;
use shufflenet_model::{ShuffleNetV2, Stem};
use shufflenet_ops::fused::{self, Precision};

use crate::fixture::{Fixture, signed};
use crate::{TOLERANCE, assert_rounds_alike, distance, gpu};

/// An operation: its name, the shape of its input, and the function that computes it.
type Operation = (
    &'static str,
    [usize; 4],
    fn(&ShuffleNetV2, Tensor<4>, Precision) -> Tensor<4>,
);

#[test]
fn every_operation_computes_and_differentiates_as_on_the_cpu() {
    // Stem with and without pooling, units of both strides and layouts, the head.
    let operations: [(&str, Operation); 8] = [
        ("standard-0.5", ("stem", [4, 3, 16, 12], stem)),
        (
            "seed-seed-stem",
            ("stem with pooling", [4, 3, 32, 22], stem),
        ),
        (
            "standard-0.5",
            ("stride-2 unit", [4, 24, 16, 12], downsample),
        ),
        (
            "seed-0.5",
            ("stride-2 unit, seed", [4, 24, 16, 12], downsample),
        ),
        ("standard-0.5", ("stride-1 unit", [4, 48, 8, 6], basic)),
        ("seed-0.5", ("stride-1 unit, seed", [4, 48, 8, 6], basic)),
        ("standard-0.5", ("head", [4, 192, 4, 3], head)),
        ("standard-se", ("squeeze-excitation", [4, 48, 8, 6], basic)),
    ];
    let gpu = gpu();
    for (fixture, operation) in operations {
        let fixture = Fixture::read(fixture);
        let cpu = Device::flex();
        let expected = measure(&fixture, &operation, &cpu, Precision::F32);
        let found = measure(&fixture, &operation, &gpu, Precision::F32);
        for ((what, found), (_, expected)) in found.iter().zip(&expected) {
            let error = distance(found, expected, expected);
            println!("{:<20} {what:<15} {error:.1e}", operation.0);
            assert!(error <= TOLERANCE, "{}, {what}: {error:e}", operation.0);
        }
    }
}

/// Squeeze-and-excitation has no kernel: Burn computes it in float32 between activations in bfloat16. (The operations with
/// kernels are tested in bfloat16 by the networks of `main.rs` and, bit for bit, in `shufflenet-gpu`.)
#[test]
fn a_unit_without_kernels_takes_and_gives_activations_in_bfloat16() {
    let fixture = Fixture::read("standard-se");
    let operation: Operation = ("squeeze-excitation", [4, 48, 8, 6], basic);
    let cpu = Device::flex();
    let expected = measure(&fixture, &operation, &cpu, Precision::F32);
    let narrow = [&cpu, &gpu()].map(|on| measure(&fixture, &operation, on, Precision::Bf16));
    for (what, error) in errors(&narrow, &expected) {
        assert_rounds_alike(&format!("{}, {what}", operation.0), error);
    }
}

/// Of each quantity, the errors of the CPU and of the adapter in bfloat16 against float32.
fn errors<'a>(
    narrow: &'a [[(&'static str, Vec<f64>); 3]; 2],
    wide: &'a [(&'static str, Vec<f64>); 3],
) -> impl Iterator<Item = (&'static str, [f64; 2])> {
    (0..wide.len()).map(|i| {
        let (what, expected) = &wide[i];
        let error = |of: &[(&'static str, Vec<f64>); 3]| distance(&of[i].1, expected, expected);
        (*what, [error(&narrow[0]), error(&narrow[1])])
    })
}

/// The stem by one kernel if the device has it, else by plain operations, as in the network.
fn stem(network: &ShuffleNetV2, x: Tensor<4>, precision: Precision) -> Tensor<4> {
    if fused::serves(&x) {
        let [stride, _] = network.stem.conv.stride;
        let pool = match network.config().stem() {
            Stem::Imagenet => Some(1),
            Stem::Seed => Some(0),
            Stem::Cifar => None,
        };
        let stem = network.stem.weights(&x);
        return fused::stem(x, stem, stride, pool, precision, CONFIG).output;
    }
    let x = network.stem.forward(x);
    match &network.pool {
        Some(pool) => pool.forward(x),
        None => x,
    }
}

/// The head, whose output has one pixel, by one kernel if the device has it, else by plain operations.
fn head(network: &ShuffleNetV2, x: Tensor<4>, precision: Precision) -> Tensor<4> {
    let x = fused::cast(x, precision);
    if fused::serves(&x) {
        let weights = network.last.weights(&x);
        let pooled = fused::head(x, weights, CONFIG).output;
        let [images, channels] = pooled.dims();
        return pooled.reshape([images, channels, 1, 1]);
    }
    network.last.forward(x).mean_dim(2).mean_dim(3)
}

fn downsample(network: &ShuffleNetV2, x: Tensor<4>, precision: Precision) -> Tensor<4> {
    network.stages[0]
        .downsample
        .forward(fused::cast(x, precision))
}

fn basic(network: &ShuffleNetV2, x: Tensor<4>, precision: Precision) -> Tensor<4> {
    network.stages[0].units[0].forward(fused::cast(x, precision))
}

/// The output, the input's gradient, and the gradients of all parameters together, of a loss that weighs every output.
fn measure(
    fixture: &Fixture,
    (name, shape, forward): &Operation,
    device: &Device,
    precision: Precision,
) -> [(&'static str, Vec<f64>); 3] {
    let device = device.clone().autodiff();
    let network = fixture.network(&device);
    let x = noise(name, *shape, &device).require_grad();
    let y = fused::cast(forward(&network, x.clone(), precision), Precision::F32);
    let weights = noise("weights of the loss", y.dims(), &device);
    let mut gradients = (y.clone() * weights).sum().backward();
    let dx = x.grad_remove(&mut gradients).unwrap();
    let gradients = GradientsParams::from_grads(gradients, &network);
    let mut all = All {
        gradients: &gradients,
        values: Vec::new(),
    };
    network.visit(&mut all);
    [
        ("output", values(y.inner())),
        ("input gradient", values(dx)),
        ("gradients", all.values),
    ]
}

/// The gradients of all parameters, one after the other.
struct All<'a> {
    gradients: &'a GradientsParams,
    values: Vec<f64>,
}

impl ModuleVisitor for All<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.values.extend(values(gradient));
        }
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Noise from -2 to 2 by the fixtures' formula.
fn noise(name: &str, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let count = shape.iter().product();
    let values: Vec<f32> = signed(name, 0)
        .map(|s| (2.0 * s) as f32)
        .take(count)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
