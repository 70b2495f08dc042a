//! What an optimizer is: a rule from a gradient and what is remembered of earlier ones to new weights.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::config::OptimizerConfig;

/// What a rule remembers of a parameter from step to step, by name, as rows of the parameter's size.
pub(super) type Remembered = BTreeMap<&'static str, Tensor<1>>;

/// What a rule needs to know of a step and a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hyper {
    pub rate: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub decay: f64,
    /// Number of the step, from 1.
    pub step: u64,
}

/// The peak rate, momentum and weight decay of the parameters that a rule moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub rate: f64,
    pub momentum: f64,
    pub decay: f64,
}

/// A parameter in a step.
pub(super) struct Moved<'a> {
    pub shape: &'a [usize],
    /// The gradient, in one row; a rule may put a direction in its place before [`Rule::update`].
    pub gradient: Tensor<1>,
    pub remembered: Remembered,
    pub hyper: Hyper,
}

/// How gradients move weights.
pub(super) trait Rule {
    /// Names of what a parameter's state holds after a step, as a checkpoint stores them.
    fn remembers(&self) -> &'static [&'static str];

    /// Whether the rule moves parameters of this shape. SGD moves the others.
    fn moves(&self, _shape: &[usize]) -> bool {
        true
    }

    /// The rule's own settings where it has some, else the section's.
    fn base(&self, config: &OptimizerConfig) -> Base {
        Base {
            rate: config.learning_rate,
            momentum: config.momentum,
            decay: config.weight_decay,
        }
    }

    /// Looks at all parameters of the rule together, before each is updated by itself.
    fn prepare(&self, _moved: &mut [&mut Moved]) {}

    /// A parameter's weights after a step, in one row.
    fn update(&self, weight: Tensor<1>, moved: &mut Moved) -> Tensor<1>;

    /// The rule with its peak rate and momentum, for the start of a run.
    fn in_words(&self, config: &OptimizerConfig) -> String;
}
