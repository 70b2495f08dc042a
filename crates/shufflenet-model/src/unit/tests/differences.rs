//! Test of the plain units, which are the reference of the kernels. It compares their gradients with central differences of
//! a loss, in float64, along a random direction of the input and of each parameter.

use burn::module::{Module, ModuleMapper, Param, RunningState};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor};

use super::*;

/// A parameter of a convolution or its batch norm.
#[derive(Clone, Copy, Debug)]
enum Parameter {
    Weight,
    Gamma,
    Beta,
}

#[test]
fn gradients_of_the_plain_units_equal_central_differences() {
    let device = Device::flex().autodiff();
    let init = &mut Initialiser::new(5, &device);
    for (left, residual, squeeze) in [(5, true, false), (3, false, true)] {
        let plan = UnitPlan {
            inputs: 10,
            outputs: if residual { 10 } else { 12 },
            left,
            residual,
        };
        let unit = BasicUnit::new(&plan, squeeze, init);
        check_differences(unit, BasicUnit::plain, basic_mut, [3, 10, 4, 5]);
    }
    for (right_first, squeeze) in [(false, true), (true, false)] {
        let plan = StagePlan {
            inputs: 6,
            branch: 7,
            units: Vec::new(),
        };
        let unit = DownsampleUnit::new(&plan, right_first, squeeze, init);
        check_differences(unit, DownsampleUnit::plain, downsample_mut, [2, 6, 5, 4]);
    }
}

fn check_differences<M: Module + Clone>(
    unit: M,
    plain: fn(&M, Tensor<4>) -> Tensor<4>,
    convolutions: fn(&mut M) -> Vec<&mut ConvNorm>,
    shape: [usize; 4],
) {
    let device = Device::flex().autodiff();
    let mut unit = unit.map(&mut ToFloat64);
    perturbed(convolutions(&mut unit));
    for conv in convolutions(&mut unit) {
        // The batch statistics are float64 now, so the running statistics must be, too.
        conv.norm.running_mean = RunningState::new(float64(conv.norm.running_mean.value_sync()));
        conv.norm.running_var = RunningState::new(float64(conv.norm.running_var.value_sync()));
    }
    let x = float64(noise(7, shape, &device));
    let loss = |unit: &M, x: Tensor<4>| {
        let y = plain(unit, x);
        let weights = float64(noise(11, y.dims(), &device));
        (y * weights).sum()
    };
    let tracked = x.clone().require_grad();
    let mut gradients = loss(&unit, tracked.clone()).backward();
    let dx = tracked.grad_remove(&mut gradients).unwrap();
    let gradients = GradientsParams::from_grads(gradients, &unit);

    let value = |loss: Tensor<1>| loss.into_scalar::<f64>();
    let close = |expected: f64, differences: [f64; 2], what: &str| {
        let slope = (differences[0] - differences[1]) / (2.0 * STEP);
        let error = (slope - expected).abs() / expected.abs().max(1e-2);
        assert!(
            error < 1e-5,
            "{what}: gradient {expected}, difference {slope}"
        );
    };
    let direction = float64(noise(13, shape, &device)).inner();
    let along = Tensor::from_inner(direction.clone());
    let shifted = |step| value(loss(&unit, x.clone() + along.clone() * step));
    let expected = (dx * direction).sum().into_scalar::<f64>();
    close(expected, [STEP, -STEP].map(shifted), "input");

    let count = convolutions(&mut unit.clone()).len();
    for i in 0..count {
        for parameter in [Parameter::Weight, Parameter::Gamma, Parameter::Beta] {
            let mut expected = 0.0;
            let mut shifted = |step: f64| {
                let mut unit = unit.clone();
                let conv = convolutions(&mut unit).swap_remove(i);
                match parameter {
                    Parameter::Weight => {
                        expected = shift(&mut conv.conv.weight, &gradients, step);
                    }
                    Parameter::Gamma => expected = shift(&mut conv.norm.gamma, &gradients, step),
                    Parameter::Beta => expected = shift(&mut conv.norm.beta, &gradients, step),
                }
                value(loss(&unit, x.clone()))
            };
            let differences = [shifted(STEP), shifted(-STEP)];
            close(expected, differences, &format!("{parameter:?} {i}"));
        }
    }
}

/// Step of a central difference. The error of the method is of the order of its square, and that of rounding of the order
/// of `1e-16 / STEP`.
const STEP: f64 = 1e-5;

/// Moves a parameter along a random direction and returns the loss's slope in that direction, from the
/// gradient.
fn shift<const D: usize>(
    parameter: &mut Param<Tensor<D>>,
    gradients: &GradientsParams,
    step: f64,
) -> f64 {
    let value = parameter.val();
    let direction = float64(noise(17, value.dims(), &value.device()));
    let gradient = gradients.get::<D>(parameter.id).unwrap();
    let slope = (gradient * direction.clone().inner()).sum();
    let id = parameter.id;
    let moved = (value + direction * step).detach().require_grad();
    *parameter = Param::initialized(id, moved);
    slope.into_scalar::<f64>()
}

fn float64<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.cast(DType::F64).detach()
}

struct ToFloat64;

impl ModuleMapper for ToFloat64 {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|x| float64(x).require_grad())
    }
}
