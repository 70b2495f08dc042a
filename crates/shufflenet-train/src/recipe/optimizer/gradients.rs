//! The gradients of a step in the order of the network's fields, each in one row.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use shufflenet_model::{clip_norm, flat};

/// Gradients of parameters.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    ids: Vec<ParamId>,
    rows: Vec<Tensor<1>>,
}

impl Gradients {
    /// The gradients of the backward pass of `module`.
    pub fn of<M: Module>(module: &M, gradients: GradientsParams) -> Self {
        let mut visitor = Visitor {
            from: gradients,
            gradients: Self::default(),
        };
        module.visit(&mut visitor);
        let Self { ids, rows } = visitor.gradients;
        // Where tensors can be views they become parts of one here. So whatever follows finds them together.
        let rows = flat::elementwise([rows], |[row]| row);
        Self { ids, rows }
    }

    /// The sum of two gradients of the same parameters.
    pub fn plus(self, other: Self) -> Self {
        let rows = flat::elementwise([self.rows, other.rows], |[a, b]| a + b);
        Self { rows, ..self }
    }

    /// The gradients, scaled down so that their common norm is at most `most` ([`clip_norm`]).
    pub fn clipped(self, most: f64) -> Self {
        let rows = clip_norm(self.rows, most);
        Self { rows, ..self }
    }

    /// Each gradient in one row.
    pub fn rows(&self) -> &[Tensor<1>] {
        &self.rows
    }

    /// The same parameters with these gradients.
    pub fn with_rows(self, rows: Vec<Tensor<1>>) -> Self {
        Self { rows, ..self }
    }
}

impl IntoIterator for Gradients {
    type Item = (ParamId, Tensor<1>);
    type IntoIter = std::iter::Zip<std::vec::IntoIter<ParamId>, std::vec::IntoIter<Tensor<1>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.ids.into_iter().zip(self.rows)
    }
}

struct Visitor {
    from: GradientsParams,
    gradients: Gradients,
}

impl ModuleVisitor for Visitor {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.remove::<D>(param.id) {
            self.gradients.ids.push(param.id);
            self.gradients.rows.push(gradient.reshape([-1]));
        }
    }
}
