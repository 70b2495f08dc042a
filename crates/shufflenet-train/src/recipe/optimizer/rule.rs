//! The interface of an optimizer: a rule that computes new weights from weights, gradient and state.

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

/// An optimizer's formula.
pub(super) trait Rule {
    /// Names of the tensors in a parameter's state after a step, as a checkpoint stores them.
    fn remembers(&self) -> &'static [&'static str];

    /// Whether the rule moves parameters of this shape. SGD moves the others.
    fn moves(&self, _shape: &[usize]) -> bool {
        true
    }

    /// The rule's own settings if it has any, else the section's.
    fn base(&self, config: &OptimizerConfig) -> Base {
        Base {
            rate: config.learning_rate,
            momentum: config.momentum,
            decay: config.weight_decay,
        }
    }

    /// Prepares all parameters of the rule together, before each row is updated. `precision` is that of the network's
    /// activations.
    fn prepare(&self, _rows: &mut [&mut Row], _precision: Precision) {}

    /// A row's weights after a step. The formula is elementwise, because on a GPU a row holds several parameters.
    fn update(&self, row: &mut Row) -> Tensor<1>;

    /// The rule with its peak rate and momentum, for the start of a run.
    fn in_words(&self, config: &OptimizerConfig) -> String;
}
