//! Test of twenty steps of every optimizer, with gradients that depend on the weights.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use shufflenet_model::{
    ModelConfig, ShuffleNetV2, Stem, load_safetensors, parameters, to_safetensors,
};
use shufflenet_train::recipe::optimizer::Optimizer;
use shufflenet_train::recipe::optimizer::gradients::Gradients;
use shufflenet_train::recipe::optimizer::{OptimizerConfig, OptimizerKind};
use shufflenet_train::step::classifier::Classifier;

use crate::{Fixture, fixture, test_device, wave};

/// The parameters in the script's order.
const ORDER: [&str; 8] = [
    "conv1.0.weight",
    "stage2.0.branch1.0.weight",
    "stage2.0.branch2.0.weight",
    "stage4.0.branch2.0.weight",
    "conv5.0.weight",
    "conv1.1.weight",
    "fc.weight",
    "fc.bias",
];

type Weights = HashMap<String, Vec<f32>>;

pub fn model() -> ModelConfig {
    ModelConfig {
        stem: Some(Stem::Cifar),
        widths: Some([8, 16, 24, 32, 48].into()),
        repeats: vec![1, 1, 1],
        ..ModelConfig::default()
    }
}

/// The network's weights in PyTorch's order and shapes.
pub fn weights(network: &ShuffleNetV2) -> Weights {
    let file = to_safetensors(network).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let values = |bytes: &[u8]| {
        let (chunks, _) = bytes.as_chunks::<4>();
        chunks.iter().map(|x| f32::from_le_bytes(*x)).collect()
    };
    file.iter()
        .map(|(name, view)| (name.to_string(), values(view.data())))
        .collect()
}

/// The weights that the script changes, in PyTorch's order. Reading all weights from a GPU would take longer than a step.
fn moved(network: &ShuffleNetV2) -> Weights {
    struct Moved {
        names: HashMap<ParamId, String>,
        values: Weights,
    }
    impl ModuleVisitor for Moved {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(name) = self.names.remove(&param.id) else {
                return;
            };
            let tensor = match D {
                // Burn's linear weights are the transpose of PyTorch's.
                2 => param.val().transpose(),
                _ => param.val(),
            };
            let values = tensor.into_data().iter::<f32>().collect();
            self.values.insert(name, values);
        }
    }
    let names = parameters(network).into_iter();
    let names = names.filter(|(_, name)| ORDER.contains(&&**name));
    let mut visitor = Moved {
        names: names.collect(),
        values: Weights::new(),
    };
    network.visit(&mut visitor);
    visitor.values
}

/// The narrow network, in which the script's weights replace some of the weights.
fn network(fixture: &Fixture, device: &Device) -> ShuffleNetV2 {
    let network = ShuffleNetV2::new(&model(), 0, device).unwrap();
    let mut all: HashMap<String, (Vec<usize>, Vec<u8>)> = HashMap::new();
    let file = to_safetensors(&network).unwrap();
    for (name, view) in SafeTensors::deserialize(&file).unwrap().iter() {
        all.insert(name.into(), (view.shape().to_vec(), view.data().to_vec()));
    }
    for (index, name) in ORDER.iter().enumerate() {
        let (shape, bytes) = all.get_mut(*name).unwrap();
        assert_eq!(*shape, fixture.shapes[*name], "{name}");
        let values = wave(shape.iter().product(), index as f64);
        *bytes = values
            .iter()
            .flat_map(|x| ((x * 0.3) as f32).to_le_bytes())
            .collect();
    }
    let views = all.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    load_safetensors(network, &safetensors::serialize(views, None).unwrap()).unwrap()
}

/// The gradients of a step, as the script has them: `0.5 w + 0.2 wave`.
fn gradients(fixture: &Fixture, classifier: &Classifier, step: usize) -> GradientsParams {
    let device = test_device();
    let ids: HashMap<String, ParamId> = parameters(&classifier.network)
        .into_iter()
        .map(|(id, name)| (name, id))
        .collect();
    let weights = moved(&classifier.network);
    let mut gradients = GradientsParams::new();
    for (index, name) in ORDER.iter().enumerate() {
        let (values, shape) = (&weights[*name], fixture.shapes[*name].clone());
        let pull = wave(values.len(), 3.0 * index as f64 + 0.37 * step as f64);
        let gradient = values.iter().zip(pull);
        let gradient = gradient.map(|(w, pull)| (0.5 * f64::from(*w) + 0.2 * pull) as f32);
        let data = TensorData::new(gradient.collect::<Vec<f32>>(), shape.clone());
        let id = ids[*name];
        match shape.len() {
            1 => gradients.register(id, Tensor::<1>::from_data(data, &device)),
            // Burn's linear weights are the transpose of PyTorch's.
            2 => gradients.register(id, Tensor::<2>::from_data(data, &device).transpose()),
            _ => gradients.register(id, Tensor::<4>::from_data(data, &device)),
        }
    }
    gradients
}

fn norm(values: &[f32]) -> f64 {
    let squares = values.iter().map(|x| f64::from(*x).powi(2));
    squares.sum::<f64>().sqrt()
}

#[test]
fn twenty_steps_of_every_optimizer_equal_pytorchs() {
    let fixture = fixture();
    let device = test_device().autodiff();
    for case in &fixture.optimizers {
        let network = network(&fixture, &device);
        let mut optimizer = Optimizer::new(&case.config, &network).unwrap();
        let mut classifier = Classifier { network };
        let mut worst = 0f64;
        for (step, expected) in case.norms.iter().enumerate() {
            let gradients = gradients(&fixture, &classifier, step);
            let gradients = Gradients::of(&classifier, gradients);
            classifier = optimizer.step(case.config.learning_rate, classifier, gradients);
            let found = moved(&classifier.network);
            for (name, expected) in ORDER.iter().zip(expected) {
                worst = worst.max((norm(&found[*name]) / expected - 1.0).abs());
            }
        }
        let found = moved(&classifier.network);
        for (name, expected) in &case.last {
            let scale = norm(&found[name]) / (found[name].len() as f64).sqrt();
            for (found, expected) in found[name].iter().zip(expected) {
                worst = worst.max((f64::from(*found) - expected).abs() / scale);
            }
        }
        let kind = case.config.kind;
        println!(
            "{kind:?}, clipped {:?}: {worst:.1e} off at most",
            case.config.clip_norm
        );
        // Newton-Schulz iterations enlarge small singular values, and their rounding errors, too.
        let tolerance = if kind == OptimizerKind::Muon {
            1e-3
        } else {
            2e-5
        };
        assert!(worst < tolerance, "{:?}: {worst}", case.config);
    }
}

#[test]
fn a_part_that_matches_no_parameter_is_refused_with_names_that_exist() {
    let network = ShuffleNetV2::new(&model(), 0, &Device::flex().autodiff()).unwrap();
    let config: OptimizerConfig =
        serde_json::from_str(r#"{"parts": [{"names": "head.*", "rate": 2.0}]}"#).unwrap();
    let line = Optimizer::new(&config, &network).err().unwrap().to_string();
    assert!(
        line.contains("`head.*`") && line.contains("conv1.0.weight"),
        "{line}"
    );
}
