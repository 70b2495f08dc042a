//! Parameters that a step updates together.
//!
//! On the CPU each parameter is its own row. On a GPU all parameters of a rule are in one row, one after the other
//! ([`flat`]), so that a formula launches the same number of kernels for any number of parameters. Each part of such a row
//! then has its own factors for the rate and the decay of its parameter.

use std::collections::BTreeMap;
use std::rc::Rc;

use burn::module::ParamId;
use burn::tensor::{Tensor, TensorData};
use shufflenet_model::flat;

use super::Parameter;
use super::rule::Rule;

/// A rule's state for a parameter, by name, as rows of the parameter's size.
pub(super) type Remembered = BTreeMap<&'static str, Tensor<1>>;

/// The numbers of a step that a rule needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hyper {
    /// The schedule's learning rate.
    pub learning_rate: f64,
    pub momentum: f64,
    pub nesterov: bool,
    /// Number of the step, from 1.
    pub step: u64,
}

/// Parameters in a step.
pub(super) struct Row<'a> {
    pub parameters: Vec<(ParamId, &'a Parameter)>,
    pub rule: &'a Rc<dyn Rule>,
    pub weight: Tensor<1>,
    /// The gradient. A rule may replace it by a direction before [`Rule::update`].
    pub gradient: Tensor<1>,
    pub remembered: Remembered,
    pub hyper: Hyper,
}

/// A parameter's own numbers in a step.
pub(super) struct Own<'a> {
    pub shape: &'a [usize],
    pub rate: f64,
    pub decay: f64,
}

impl<'a> Row<'a> {
    fn own(&self) -> impl Iterator<Item = Own<'a>> {
        let learning_rate = self.hyper.learning_rate;
        self.parameters.iter().map(move |(_, parameter)| Own {
            shape: &parameter.shape,
            rate: learning_rate * parameter.rate,
            decay: parameter.decay,
        })
    }

    /// Whether a parameter of the row decays.
    pub fn decays(&self) -> bool {
        self.own().any(|own| own.decay > 0.0)
    }

    /// `x`, a tensor like the row, times a factor of each parameter.
    pub fn times(&self, x: Tensor<1>, factor: impl Fn(Own) -> f64) -> Tensor<1> {
        let factors: Vec<f64> = self.own().map(factor).collect();
        if let [first, others @ ..] = &*factors
            && others.iter().all(|other| other == first)
        {
            return x.mul_scalar(*first);
        }
        let lens = self.lens();
        let of_part = |(factor, len): (&f64, &usize)| {
            std::iter::repeat_n(*factor as f32, flat::padded(*len) / flat::ALIGNMENT)
        };
        let factors: Vec<f32> = factors.iter().zip(&lens).flat_map(of_part).collect();
        let shape = [factors.len(), 1];
        let factors = Tensor::<2>::from_data(TensorData::new(factors, shape), &x.device());
        (x.reshape([shape[0], flat::ALIGNMENT]) * factors).reshape([-1])
    }

    /// The shapes of the parameters.
    pub fn shapes(&self) -> impl Iterator<Item = &'a [usize]> {
        let parameters = self.parameters.iter();
        parameters.map(|(_, parameter)| &*parameter.shape)
    }

    fn lens(&self) -> Vec<usize> {
        let lens = self.shapes().map(|shape| shape.iter().product());
        lens.collect()
    }

    /// The parts of `x`, a tensor like the row, that belong to each parameter.
    pub fn parts(&self, x: Tensor<1>) -> Vec<Tensor<1>> {
        match self.parameters.len() {
            1 => vec![x],
            _ => flat::split(x, &self.lens()),
        }
    }

    /// The row of one tensor for each parameter.
    pub fn whole(&self, parts: Vec<Tensor<1>>) -> Tensor<1> {
        match <[Tensor<1>; 1]>::try_from(parts) {
            Ok([part]) => part,
            Err(parts) => flat::gather(parts),
        }
    }

    /// `weight`, a tensor like the row, and the state, for each parameter.
    pub fn apart(mut self, weight: Tensor<1>) -> Vec<(ParamId, Tensor<1>, Remembered)> {
        let ids = self.parameters.iter().map(|(id, _)| *id);
        let weights = ids.zip(self.parts(weight));
        let mut apart: Vec<_> = weights
            .map(|(id, weight)| (id, weight, Remembered::new()))
            .collect();
        for (name, values) in std::mem::take(&mut self.remembered) {
            for ((.., remembered), part) in apart.iter_mut().zip(self.parts(values)) {
                remembered.insert(name, part);
            }
        }
        apart
    }

    /// Whether both rows are updated by one formula.
    fn goes_with(&self, other: &Self) -> bool {
        Rc::ptr_eq(self.rule, other.rule)
            && self.hyper.momentum == other.hyper.momentum
            && self.remembered.keys().eq(other.remembered.keys())
    }
}

/// Groups rows of one parameter each into the rows that a step updates one after the other.
pub(super) fn together(rows: Vec<Row>) -> Vec<Row> {
    if !rows.iter().all(|row| flat::has_views(&row.gradient)) {
        return rows;
    }
    let mut groups: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        let of_its_kind = |group: &&mut Vec<Row>| group.iter().all(|other| row.goes_with(other));
        match groups.iter_mut().find(of_its_kind) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.into_iter().filter_map(one).collect()
}

/// One row of all these rows.
fn one(group: Vec<Row>) -> Option<Row> {
    let (rule, hyper) = group.first().map(|row| (row.rule, row.hyper))?;
    let (mut parameters, mut weights, mut gradients) = (Vec::new(), Vec::new(), Vec::new());
    let mut remembered = BTreeMap::<&'static str, Vec<Tensor<1>>>::new();
    for row in group {
        parameters.extend(row.parameters);
        weights.push(row.weight);
        gradients.push(row.gradient);
        for (name, values) in row.remembered {
            remembered.entry(name).or_default().push(values);
        }
    }
    let remembered = remembered.into_iter();
    Some(Row {
        parameters,
        rule,
        weight: flat::gather(weights),
        gradient: flat::gather(gradients),
        remembered: remembered
            .map(|(name, values)| (name, flat::gather(values)))
            .collect(),
        hyper,
    })
}
