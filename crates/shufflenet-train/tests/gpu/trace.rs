//! The results of inference and of five training steps on a device, to be compared with those of another device.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Device;
use burn::tensor::Tensor;
use burn::train::{InferenceStep, TrainStep};
use shufflenet_model::{Precision, parameters, to_safetensors};
use shufflenet_train::evaluation::tally::Tally;
use shufflenet_train::recipe::loss::LossConfig;
use shufflenet_train::recipe::optimizer::Optimizer;
use shufflenet_train::recipe::optimizer::gradients::Gradients;
use shufflenet_train::step::classifier::{Classifier, Images, Scores};

use crate::fixture::{Fixture, Tensors, unpack};

/// Quantities by name. Each has one or more tensors by name.
pub type Trace = BTreeMap<&'static str, Tensors>;

/// Runs inference, then the trainer's steps, as many as the fixture has.
pub fn trace(fixture: &Fixture, device: &Device, precision: Precision) -> Trace {
    let training = device.clone().autodiff();
    let mut classifier = Classifier {
        network: fixture.network(&training).with_precision(precision),
    };
    let mut trace = Trace::new();
    let (loss, classes) = (LossConfig::default(), fixture.model.classes());
    let images = Images::new(fixture.batch().into(), &loss, classes, device);
    let scores = InferenceStep::step(&classifier.valid(), images);
    trace.insert("inference logits", single("logits", host(&scores)));

    let mut optimizer = Optimizer::new(&fixture.optimizer, &classifier.network).unwrap();
    let mut losses = Tensors::new();
    for step in 0..fixture.losses.len() {
        let batch = fixture.batch();
        let images = Images::new(batch.clone().into(), &loss, classes, &training);
        let output = TrainStep::step(&classifier, images);
        let mut tally = Tally::default();
        tally.add(&output.item.to_host().unwrap(), &batch.labels);
        losses.insert(format!("step {step}"), vec![tally.metrics().loss]);
        if step == 0 {
            trace.insert("training logits", single("logits", host(&output.item)));
            trace.insert("gradients", gradients(&classifier, &output.grads));
        }
        let rate = fixture.optimizer.learning_rate;
        let gradients = Gradients::of(&classifier, output.grads);
        classifier = optimizer.step(rate, classifier, gradients);
    }
    trace.insert("losses of five steps", losses);
    let (statistics, weights) = unpack(&to_safetensors(&classifier.network).unwrap())
        .into_iter()
        .partition(|(name, _)| name.contains("running_"));
    trace.insert("weights after them", weights);
    trace.insert("running statistics", statistics);
    trace
}

fn single(name: &str, values: Vec<f64>) -> Tensors {
    Tensors::from([(name.into(), values)])
}

fn host(scores: &Scores) -> Vec<f64> {
    let logits = scores.to_host().unwrap();
    logits.into_iter().map(f64::from).collect()
}

/// Every parameter's gradient under its name.
fn gradients(classifier: &Classifier, gradients: &GradientsParams) -> Tensors {
    struct Collector<'a> {
        gradients: &'a GradientsParams,
        names: HashMap<ParamId, String>,
        found: Tensors,
    }
    impl ModuleVisitor for Collector<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                let values = gradient.into_data().iter::<f64>().collect();
                self.found.insert(self.names[&param.id].clone(), values);
            }
        }
    }
    let mut collector = Collector {
        gradients,
        names: parameters(&classifier.network).into_iter().collect(),
        found: Tensors::new(),
    };
    classifier.visit(&mut collector);
    collector.found
}
