//! The section `[optimizer]`: how a gradient moves the weights.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use super::checks::{from_zero, momentum, positive};
use super::lion::Lion;
use super::muon::Muon;
use super::pattern;
use super::rule::Rule;
use super::sgd::Sgd;
use crate::error::{TrainError, require};

/// Which optimizer, at what rate; the default is SGD as the published CIFAR figures use it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// `sgd`: stochastic gradient descent with momentum. `adamw`: Adam with decoupled weight decay. `lion`: the sign of a
    /// momentum gives each step. `muon`: orthogonalised momentum for weights that are matrices, SGD for all others. All
    /// but `sgd` have a section of their own below this one.
    pub kind: OptimizerKind,
    /// Peak learning rate; the schedule scales it. The default is for `sgd`: `adamw` usually takes about
    /// 0.001 and `lion` 0.0001.
    pub learning_rate: f64,
    /// Momentum, 0 to below 1; AdamW's and Lion's first beta.
    pub momentum: f64,
    /// Nesterov's form of momentum; `sgd` and `muon`.
    pub nesterov: bool,
    /// Weight decay. With `sgd`, and for what `muon` leaves to SGD, it is an L2 penalty, which is added to the
    /// gradient. With `adamw` and `lion` it is decoupled: each step subtracts `learning_rate * weight_decay * w`.
    /// Matrices that `muon` updates have `optimizer.muon.weight_decay`.
    pub weight_decay: f64,
    /// Whether weight decay includes batch norms and biases, as in the published CIFAR recipe.
    pub decay_norm_and_bias: bool,
    /// Largest norm of the gradient over all parameters together; a larger gradient is scaled down to it. Unset: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Settings of `adamw`.
    pub adamw: AdamW,
    /// Settings of `lion`.
    pub lion: Lion,
    /// Settings of `muon`.
    pub muon: Muon,
    /// Parameters with rates and decays of their own, `[[optimizer.parts]]`; the last that fits a parameter
    /// counts.
    pub parts: Vec<Part>,
}

/// Kind of [`OptimizerConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decoupled weight decay.
    AdamW,
    /// The sign of a momentum.
    Lion,
    /// Orthogonalised momentum for weights that are matrices, SGD for depthwise kernels and batch norms.
    Muon,
}

/// Parameters with their own learning rate and decay. A list: `parts = [{ names = "fc.*", rate = 0.5 }]`. The last part that
/// matches a parameter counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Their names in weight files, `*` for any characters: `fc.*`, `stage4.*.weight`.
    pub names: String,
    /// Factor for the learning rate.
    #[serde(default = "one")]
    pub rate: f64,
    /// Factor for the weight decay.
    #[serde(default = "one")]
    pub decay: f64,
}

fn one() -> f64 {
    1.0
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::Sgd,
            learning_rate: 0.1,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            decay_norm_and_bias: true,
            clip_norm: None,
            adamw: AdamW::default(),
            lion: Lion::default(),
            muon: Muon::default(),
            parts: Vec::new(),
        }
    }
}

impl OptimizerConfig {
    /// The rule of this kind.
    pub(super) fn rule(&self) -> Rc<dyn Rule> {
        match self.kind {
            OptimizerKind::Sgd => Rc::new(Sgd::of(self)),
            OptimizerKind::AdamW => Rc::new(self.adamw.clone()),
            OptimizerKind::Lion => Rc::new(self.lion.clone()),
            OptimizerKind::Muon => Rc::new(self.muon.clone()),
        }
    }

    /// The part that a parameter belongs to, if any.
    pub(super) fn part(&self, name: &str) -> Option<&Part> {
        let mut parts = self.parts.iter().rev();
        parts.find(|part| pattern::matches(&part.names, name))
    }

    /// Checks that the settings are in range.
    ///
    /// # Errors
    /// [`TrainError::Value`].
    pub fn check(&self) -> Result<(), TrainError> {
        positive("optimizer.learning_rate", self.learning_rate)?;
        momentum("optimizer.momentum", self.momentum)?;
        let by_sgd = matches!(self.kind, OptimizerKind::Sgd | OptimizerKind::Muon);
        require(
            !by_sgd || !self.nesterov || self.momentum > 0.0,
            "optimizer.nesterov",
            self.nesterov,
            "false where optimizer.momentum is 0",
        )?;
        from_zero("optimizer.weight_decay", self.weight_decay)?;
        if let Some(most) = self.clip_norm {
            positive("optimizer.clip_norm", most)?;
        }
        for part in &self.parts {
            from_zero("optimizer.parts.rate", part.rate)?;
            from_zero("optimizer.parts.decay", part.decay)?;
        }
        self.adamw.check()?;
        self.lion.check()?;
        self.muon.check()
    }
}
