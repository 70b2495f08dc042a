//! What an optimizer is: a rule from a gradient and what is remembered of earlier ones to new weights.

use burn::tensor::Tensor;
use shufflenet_model::Precision;

use super::config::OptimizerConfig;
use super::row::Row;

/// The peak rate, momentum and weight decay of the parameters that a rule moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub rate: f64,
    pub momentum: f64,
    pub decay: f64,
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

    /// Looks at all parameters of the rule together, before each row is updated by itself. `precision` is that of the
    /// network's activations.
    fn prepare(&self, _rows: &mut [&mut Row], _precision: Precision) {}

    /// A row's weights after a step. The formula is elementwise: a row holds several parameters on a GPU.
    fn update(&self, row: &mut Row) -> Tensor<1>;

    /// The rule with its peak rate and momentum, for the start of a run.
    fn in_words(&self, config: &OptimizerConfig) -> String;
}
