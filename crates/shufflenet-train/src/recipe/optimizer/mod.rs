//! The optimizers: how gradients change the weights.
//!
//! Each optimizer is a `Rule` in a file with its formula. Every parameter has a rule, a rate and a decay, which follow from
//! its shape and name when the optimizer is made. A step gathers the gradients, and scales them down if their common norm
//! is too large. Then it lets each rule prepare all of its parameters (Muon orthogonalises matrices there), and updates
//! each parameter by its rule. `tests/recipes` compares every rule with PyTorch over twenty steps.
//!
//! Burn's module optimizer is not used, for three reasons: it clips tensor by tensor, it fixes the momentum that a schedule
//! changes, and it keeps its state under ids that are random in every process. Here the state is stored by name
//! (`stored.rs`).

mod adamw;
mod checks;
mod config;
pub mod gradients;
mod lion;
mod muon;
pub mod pattern;
mod row;
mod rule;
mod sgd;
mod stored;

use std::collections::HashMap;
use std::rc::Rc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use shufflenet_model::{Precision, ShuffleNetV2, parameters};

use crate::error::TrainError;
use gradients::Gradients;
use row::{Hyper, Remembered, Row, together};
use rule::Rule;
use sgd::Sgd;

pub use adamw::AdamW;
pub use config::{OptimizerConfig, OptimizerKind, Part};
pub use lion::Lion;
pub use muon::Muon;

/// Learning rate and momentum of a step.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// The learning rate.
    pub learning_rate: f64,
    /// The momentum, if a schedule changes it.
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

/// How one parameter is treated.
struct Parameter {
    name: String,
    shape: Vec<usize>,
    rule: Rc<dyn Rule>,
    /// The parameter's rate, as a multiple of the schedule's.
    rate: f64,
    /// The momentum, if no schedule changes it.
    momentum: f64,
    decay: f64,
}

/// The rules of an experiment with their state.
pub struct Optimizer {
    precision: Precision,
    nesterov: bool,
    clip_norm: Option<f64>,
    /// The configured rule, and SGD for the parameters that it leaves alone.
    rules: [Rc<dyn Rule>; 2],
    parameters: HashMap<ParamId, Parameter>,
    remembered: HashMap<ParamId, Remembered>,
    /// Steps taken.
    steps: u64,
}

impl Optimizer {
    /// An optimizer of the parameters of `network` that are not frozen, before its first step.
    ///
    /// # Errors
    /// [`TrainError::Value`]: a pattern in `optimizer.parts` that no parameter has.
    pub fn new(config: &OptimizerConfig, network: &ShuffleNetV2) -> Result<Self, TrainError> {
        let names: HashMap<ParamId, String> = parameters(network).into_iter().collect();
        for part in &config.parts {
            pattern::require_match("optimizer.parts.names", &part.names, names.values())?;
        }
        let rules = [config.rule(), Rc::new(Sgd::of(config))];
        let mut shapes = Shapes(Vec::new());
        network.visit(&mut shapes);
        let treat = |(id, shape): (ParamId, Vec<usize>)| {
            let name = names.get(&id)?.clone();
            Some((id, Parameter::new(config, &rules, name, shape)))
        };
        Ok(Self {
            precision: network.precision(),
            nesterov: config.nesterov,
            clip_norm: config.clip_norm,
            parameters: shapes.0.into_iter().filter_map(treat).collect(),
            rules,
            remembered: HashMap::new(),
            steps: 0,
        })
    }

    /// `module`, which holds the network, after a step along `gradients`. A parameter without a gradient is unchanged.
    pub fn step<M: Module>(
        &mut self,
        rates: impl Into<Rates>,
        module: M,
        gradients: Gradients,
    ) -> M {
        self.steps += 1;
        let gradients = match self.clip_norm {
            Some(most) => gradients.clipped(most),
            None => gradients,
        };
        let mut weights = Weights(HashMap::new());
        module.visit(&mut weights);
        let rates = rates.into();
        let mut rows = Vec::new();
        for (id, gradient) in gradients {
            let (Some(parameter), Some(weight)) = (self.parameters.get(&id), weights.0.remove(&id))
            else {
                continue;
            };
            let hyper = Hyper {
                learning_rate: rates.learning_rate,
                momentum: rates.momentum.unwrap_or(parameter.momentum),
                nesterov: self.nesterov,
                step: self.steps,
            };
            rows.push(Row {
                parameters: vec![(id, parameter)],
                rule: &parameter.rule,
                weight,
                gradient,
                remembered: self.remembered.remove(&id).unwrap_or_default(),
                hyper,
            });
        }
        let mut rows = together(rows);
        for rule in &self.rules {
            let own = rows.iter_mut().filter(|row| Rc::ptr_eq(row.rule, rule));
            rule.prepare(&mut own.collect::<Vec<_>>(), self.precision);
        }
        let mut stepped = HashMap::new();
        for mut row in rows {
            let weight = row.rule.update(&mut row);
            for (id, weight, remembered) in row.apart(weight) {
                self.remembered.insert(id, remembered);
                stepped.insert(id, weight);
            }
        }
        module.map(&mut Stepper(stepped))
    }

    /// The configured rule with its peak rate and momentum, for the start of a run.
    pub fn in_words(config: &OptimizerConfig) -> String {
        config.rule().in_words(config)
    }
}

impl Parameter {
    fn new(
        config: &OptimizerConfig,
        [rule, sgd]: &[Rc<dyn Rule>; 2],
        name: String,
        shape: Vec<usize>,
    ) -> Self {
        let rule = if rule.moves(&shape) { rule } else { sgd };
        let base = rule.base(config);
        // The parameters of rank 1 are those of batch norms, and biases.
        let decays = config.decay_norm_and_bias || shape.len() > 1;
        let (rate, decay) = match config.part(&name) {
            Some(part) => (part.rate, part.decay),
            None => (1.0, 1.0),
        };
        Self {
            name,
            shape,
            rule: rule.clone(),
            rate: base.rate / config.learning_rate * rate,
            momentum: base.momentum,
            decay: if decays { base.decay * decay } else { 0.0 },
        }
    }
}

/// The shapes of the parameters that are not frozen.
struct Shapes(Vec<(ParamId, Vec<usize>)>);

impl ModuleVisitor for Shapes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if tensor.is_require_grad() {
            self.0.push((param.id, tensor.dims().to_vec()));
        }
    }
}

/// The weights by parameter, each in one row.
struct Weights(HashMap<ParamId, Tensor<1>>);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let weight = param.val().inner().reshape([-1]);
        self.0.insert(param.id, weight);
    }
}

/// Replaces the weights before a step by those after it.
struct Stepper(HashMap<ParamId, Tensor<1>>);

impl ModuleMapper for Stepper {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(stepped) = self.0.remove(&param.id) else {
            return param;
        };
        param.map(|tensor| {
            let (shape, learns) = (tensor.shape(), tensor.is_require_grad());
            Tensor::from_inner(stepped.reshape(shape)).set_require_grad(learns)
        })
    }
}
