//! How gradients move the weights.
//!
//! Every parameter has a rule (SGD, AdamW, Lion, Muon; each a file with its formula), a rate and a decay,
//! which follow from its shape and name once, when the optimizer is made. A step gathers the gradients,
//! scales them down together where their norm is too large, has Muon orthogonalise its own, and applies to each
//! parameter its rule, on the values in one row: no rule but Muon's looks at a shape. Held to PyTorch over twenty steps by
//! `tests/recipes`.
//!
//! Not Burn's module optimizer: that clips tensor by tensor, fixes the momentum that a schedule moves, and
//! keeps its state under ids that are random in every process, private until it is written out. The state
//! here is stored under names (`stored.rs`).

mod adamw;
mod clip;
mod config;
mod lion;
mod muon;
pub mod pattern;
mod sgd;
mod stored;

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use shufflenet_model::{ShuffleNetV2, parameters};

use crate::classifier::Classifier;
use crate::error::TrainError;

pub use adamw::AdamW;
pub use config::{OptimizerConfig, OptimizerKind, Part};
pub use lion::Lion;
pub use muon::Muon;

/// What a rule remembers of a parameter from step to step, by name, as rows of its size.
type State = BTreeMap<&'static str, Tensor<1>>;

/// What a step is taken at.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// The learning rate.
    pub learning_rate: f64,
    /// The momentum, where a schedule moves it.
    pub momentum: Option<f64>,
}

impl From<f64> for Rates {
    /// This learning rate, and the momentum of the configuration.
    fn from(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            momentum: None,
        }
    }
}

/// What a rule needs to know of a step and a parameter.
struct Hyper {
    rate: f64,
    momentum: f64,
    nesterov: bool,
    decay: f64,
    /// Number of the step, from 1.
    step: u64,
}

/// How one parameter is treated.
struct Parameter {
    name: String,
    shape: Vec<usize>,
    rule: OptimizerKind,
    /// Its rate, as a multiple of everybody's.
    rate: f64,
    decay: f64,
}

/// The rules of an experiment with what they remember.
pub struct Optimizer {
    config: OptimizerConfig,
    parameters: HashMap<ParamId, Parameter>,
    states: HashMap<ParamId, State>,
    /// Steps taken.
    steps: u64,
}

impl Optimizer {
    /// An optimizer of the parameters of `network` that are not frozen, before its first step.
    ///
    /// # Errors
    /// [`TrainError::Value`]: a part that no parameter belongs to.
    pub fn new(config: &OptimizerConfig, network: &ShuffleNetV2) -> Result<Self, TrainError> {
        let names: HashMap<ParamId, String> = parameters(network).into_iter().collect();
        for part in &config.parts {
            pattern::require_match("optimizer.parts.names", &part.names, names.values())?;
        }
        let mut shapes = Shapes(Vec::new());
        network.visit(&mut shapes);
        let treat = |(id, shape): (ParamId, Vec<usize>)| {
            let name = names.get(&id)?.clone();
            Some((id, Parameter::new(config, name, shape)))
        };
        Ok(Self {
            config: config.clone(),
            parameters: shapes.0.into_iter().filter_map(treat).collect(),
            states: HashMap::new(),
            steps: 0,
        })
    }

    /// `classifier` after a step along `gradients`. Parameters without one are left as they are.
    pub fn step(
        &mut self,
        rates: impl Into<Rates>,
        classifier: Classifier,
        gradients: GradientsParams,
    ) -> Classifier {
        self.steps += 1;
        let mut gathered = Gathered {
            from: gradients,
            gradients: Vec::new(),
        };
        classifier.visit(&mut gathered);
        let mut gradients = gathered.gradients;
        if let Some(most) = self.config.clip_norm {
            clip::clip(&mut gradients, most);
        }
        let rates = rates.into();
        self.orthogonalise(&mut gradients, rates);
        classifier.map(&mut Stepper {
            optimizer: self,
            rates,
            gradients: gradients.into_iter().collect(),
        })
    }

    /// Replaces the gradients of Muon's parameters by the directions of their step.
    fn orthogonalise(&mut self, gradients: &mut [(ParamId, Tensor<1>)], rates: Rates) {
        let mut rows = Vec::new();
        for (id, gradient) in gradients {
            let Some(parameter) = self.parameters.get(id) else {
                continue;
            };
            if parameter.rule == OptimizerKind::Muon {
                let hyper = self.hyper(parameter, rates);
                let state = self.states.entry(*id).or_default();
                *gradient = muon::direction(gradient.clone(), state, &hyper);
                rows.push((&parameter.shape[..], gradient));
            }
        }
        muon::orthogonalise(rows);
    }

    /// The weights of a parameter after its step, in one row like its gradient.
    fn update(
        &mut self,
        id: ParamId,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        rates: Rates,
    ) -> Tensor<1> {
        let Some(parameter) = self.parameters.get(&id) else {
            return weight;
        };
        let (config, hyper) = (&self.config, self.hyper(parameter, rates));
        let state = self.states.entry(id).or_default();
        match parameter.rule {
            OptimizerKind::Sgd => sgd::update(weight, gradient, state, &hyper),
            OptimizerKind::AdamW => config.adamw.update(weight, gradient, state, &hyper),
            OptimizerKind::Lion => config.lion.update(weight, gradient, state, &hyper),
            OptimizerKind::Muon => muon::update(weight, gradient, &parameter.shape, &hyper),
        }
    }

    fn hyper(&self, parameter: &Parameter, rates: Rates) -> Hyper {
        let momentum = match parameter.rule {
            OptimizerKind::Muon => self.config.muon.momentum,
            _ => self.config.momentum,
        };
        Hyper {
            rate: rates.learning_rate * parameter.rate,
            momentum: rates.momentum.unwrap_or(momentum),
            nesterov: self.config.nesterov,
            decay: parameter.decay,
            step: self.steps,
        }
    }
}

impl Parameter {
    fn new(config: &OptimizerConfig, name: String, shape: Vec<usize>) -> Self {
        let rule = match config.kind {
            OptimizerKind::Muon if muon::matrix(&shape).is_none() => OptimizerKind::Sgd,
            kind => kind,
        };
        let (base_rate, base_decay) = match rule {
            OptimizerKind::Muon => (
                config.muon.learning_rate / config.learning_rate,
                config.muon.weight_decay,
            ),
            _ => (1.0, config.weight_decay),
        };
        // Batch norms and biases are all there is of rank 1.
        let decays = config.decay_norm_and_bias || shape.len() > 1;
        let (rate, decay) = match config.part(&name) {
            Some(part) => (part.rate, part.decay),
            None => (1.0, 1.0),
        };
        Self {
            name,
            shape,
            rule,
            rate: base_rate * rate,
            decay: if decays { base_decay * decay } else { 0.0 },
        }
    }

    /// What its rule remembers after a step.
    fn remembered(&self, config: &OptimizerConfig) -> &'static [&'static str] {
        match self.rule {
            OptimizerKind::Sgd if config.momentum == 0.0 => &[],
            OptimizerKind::Sgd => &[sgd::VELOCITY],
            OptimizerKind::AdamW => &adamw::MOMENTS,
            OptimizerKind::Lion => &[lion::MOMENTUM],
            OptimizerKind::Muon => &[muon::MOMENTUM],
        }
    }
}

/// The shapes of what is not frozen.
struct Shapes(Vec<(ParamId, Vec<usize>)>);

impl ModuleVisitor for Shapes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if tensor.is_require_grad() {
            self.0.push((param.id, tensor.dims().to_vec()));
        }
    }
}

/// Gradients in the order of the network's fields, each in one row.
struct Gathered {
    from: GradientsParams,
    gradients: Vec<(ParamId, Tensor<1>)>,
}

impl ModuleVisitor for Gathered {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.remove::<D>(param.id) {
            self.gradients.push((param.id, gradient.reshape([-1])));
        }
    }
}

struct Stepper<'a> {
    optimizer: &'a mut Optimizer,
    rates: Rates,
    gradients: HashMap<ParamId, Tensor<1>>,
}

impl ModuleMapper for Stepper<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let Some(gradient) = self.gradients.remove(&id) else {
            return param;
        };
        param.map(|tensor| {
            let (shape, learns) = (tensor.shape(), tensor.is_require_grad());
            let weight = tensor.inner().reshape([-1]);
            let stepped = self.optimizer.update(id, weight, gradient, self.rates);
            Tensor::from_inner(stepped.reshape(shape)).set_require_grad(learns)
        })
    }
}
