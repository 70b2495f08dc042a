//! Tests of the kernels against the plain units: output, every gradient and the running statistics.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

mod differences;
mod rounded;

use super::*;
use crate::testing::{distance, noise};

/// Output, input gradient and the gradient of every parameter, for a loss with a different weight for
/// each output.
fn gradients<M: Module>(
    unit: &M,
    forward: impl Fn(&M, Tensor<4>) -> Tensor<4>,
    x: &Tensor<4>,
) -> (Tensor<4>, Tensor<4>, GradientsParams) {
    let x = x.clone().detach().require_grad();
    let output = forward(unit, x.clone());
    let weights = noise(11, output.dims(), &output.device());
    let mut gradients = (output.clone() * weights).sum().backward();
    let dx = x.grad_remove(&mut gradients).unwrap();
    (
        output.inner(),
        dx,
        GradientsParams::from_grads(gradients, unit),
    )
}

/// Changes the gammas and betas of a unit's convolutions from their initial values.
fn perturbed(convolutions: Vec<&mut ConvNorm>) {
    for (seed, conv) in (100..).step_by(2).zip(convolutions) {
        let norm = &mut conv.norm;
        let perturb = |x: Tensor<1>, seed| {
            let noise = noise(seed, x.dims(), &x.device()) * 0.3;
            (x.clone() + noise.cast(x.dtype())).detach().require_grad()
        };
        norm.gamma = norm.gamma.clone().map(|gamma| perturb(gamma, seed));
        norm.beta = norm.beta.clone().map(|beta| perturb(beta, seed + 1));
    }
}

/// Tolerances of the comparison and of the gradients of gamma and beta. On a 1x1 map the batch norm cancels the factor
/// of the depthwise weight before it. So the weight's gradient is zero except for rounding, and needs a larger
/// tolerance.
fn tolerance(x: &Tensor<4>) -> [f32; 2] {
    let [.., height, width] = x.dims();
    [if height * width == 1 { 3e-4 } else { 2e-5 }; 2]
}

fn compare<M: Module + Clone>(
    unit: &M,
    plain: fn(&M, Tensor<4>) -> Tensor<4>,
    fused: fn(&M, Tensor<4>) -> Tensor<4>,
    convolutions: fn(&M) -> Vec<&ConvNorm>,
    x: &Tensor<4>,
    [tolerance, of_norms]: [f32; 2],
    what: &str,
) {
    let statistics = |unit: &M| -> Vec<Tensor<1>> {
        let of = |conv: &ConvNorm| {
            [
                conv.norm.running_mean.value_sync(),
                conv.norm.running_var.value_sync(),
            ]
        };
        convolutions(unit).into_iter().flat_map(of).collect()
    };
    let before = statistics(unit);
    let (expected, expected_dx, expected_gradients) = gradients(unit, plain, x);
    let expected_statistics = statistics(unit);
    for (conv, values) in convolutions(unit).into_iter().zip(before.chunks(2)) {
        conv.norm.running_mean.update(values[0].clone());
        conv.norm.running_var.update(values[1].clone());
    }
    let (actual, actual_dx, actual_gradients) = gradients(unit, fused, x);
    let close = |error: f32, name: &str| assert!(error < tolerance, "{what}, {name}: {error:e}");
    let close_norm =
        |error: f32, name: &str| assert!(error < of_norms, "{what}, {name}: {error:e}");
    close(distance(&actual, &expected), "output");
    close(distance(&actual_dx, &expected_dx), "input gradient");
    for (i, (a, b)) in statistics(unit)
        .iter()
        .zip(&expected_statistics)
        .enumerate()
    {
        close(distance(a, b), &format!("running statistic {i}"));
    }
    for (i, conv) in convolutions(unit).into_iter().enumerate() {
        let gradient = |gradients: &GradientsParams, id| gradients.get::<1>(id).unwrap();
        let weight = conv.conv.weight.id;
        let [a, b] = [&actual_gradients, &expected_gradients].map(|g| g.get::<4>(weight).unwrap());
        close(distance(&a, &b), &format!("weight {i}"));
        let gamma = conv.norm.gamma.id;
        let [a, b] = [&actual_gradients, &expected_gradients].map(|g| gradient(g, gamma));
        close_norm(distance(&a, &b), &format!("gamma {i}"));
        // A beta before a linear convolution and the next batch norm has no effect. Its gradient is zero
        // except for rounding, so the gradient of gamma sets the scale of the comparison.
        let scale = b.powi_scalar(2).sum().sqrt().into_scalar::<f32>();
        let [a, b] =
            [&actual_gradients, &expected_gradients].map(|g| gradient(g, conv.norm.beta.id));
        let error = (a - b).powi_scalar(2).sum().sqrt().into_scalar::<f32>();
        close_norm(error / scale, &format!("beta {i}"));
    }
}

fn basic_convolutions(unit: &BasicUnit) -> Vec<&ConvNorm> {
    unit.right.convolutions().into()
}

fn basic_mut(unit: &mut BasicUnit) -> Vec<&mut ConvNorm> {
    let Branch {
        pointwise1,
        depthwise,
        pointwise2,
        ..
    } = &mut unit.right;
    vec![pointwise1, depthwise, pointwise2]
}

fn downsample_mut(unit: &mut DownsampleUnit) -> Vec<&mut ConvNorm> {
    let DownsampleUnit {
        right,
        left_depthwise,
        left_pointwise,
        ..
    } = unit;
    let Branch {
        pointwise1,
        depthwise,
        pointwise2,
        ..
    } = right;
    vec![
        pointwise1,
        depthwise,
        pointwise2,
        left_depthwise,
        left_pointwise,
    ]
}

fn downsample_convolutions(unit: &DownsampleUnit) -> Vec<&ConvNorm> {
    let left = [&unit.left_depthwise, &unit.left_pointwise];
    unit.right.convolutions().into_iter().chain(left).collect()
}

#[test]
fn the_stride_1_kernel_equals_the_plain_unit() {
    let device = Device::flex().autodiff();
    // Inputs, outputs, left, residual, batch, height, width.
    let cases = [
        (48, 48, 24, false, 8, 6, 6),
        (48, 48, 24, true, 3, 5, 7),
        (116, 116, 58, false, 4, 4, 4),
        (48, 116, 24, false, 2, 3, 3),
        (10, 10, 3, true, 9, 1, 1),
        (10, 10, 7, false, 1, 2, 3),
        (34, 34, 1, true, 1, 4, 9),
        (34, 34, 31, false, 70, 2, 2),
        (232, 232, 116, false, 2, 4, 4),
    ];
    for (inputs, outputs, left, residual, batch, height, width) in cases {
        let init = &mut Initialiser::new(5, &device);
        let plan = UnitPlan {
            inputs,
            outputs,
            left,
            residual,
        };
        let mut unit = BasicUnit::new(&plan, false, init);
        perturbed(basic_mut(&mut unit));
        let x = noise(7, [batch, inputs, height, width], &device);
        let what = format!(
            "{inputs}->{outputs}, left {left}, {batch}x{height}x{width}, residual {residual}"
        );
        compare(
            &unit,
            BasicUnit::plain,
            BasicUnit::forward,
            basic_convolutions,
            &x,
            tolerance(&x),
            &what,
        );
    }
}

#[test]
fn the_stride_2_kernel_equals_the_plain_unit() {
    let device = Device::flex().autodiff();
    // Inputs, branch, right first, batch, height, width.
    let cases = [
        (24, 24, false, 8, 8, 8),
        (24, 58, false, 3, 7, 5),
        (24, 24, true, 2, 6, 9),
        (116, 116, false, 2, 4, 4),
        (5, 7, true, 9, 1, 1),
        (17, 33, false, 1, 7, 6),
        (24, 24, false, 70, 4, 4),
    ];
    for (inputs, branch, right_first, batch, height, width) in cases {
        let init = &mut Initialiser::new(5, &device);
        let plan = StagePlan {
            inputs,
            branch,
            units: Vec::new(),
        };
        let mut unit = DownsampleUnit::new(&plan, right_first, false, init);
        perturbed(downsample_mut(&mut unit));
        let x = noise(7, [batch, inputs, height, width], &device);
        let what =
            format!("{inputs}->2x{branch}, {batch}x{height}x{width}, right first {right_first}");
        compare(
            &unit,
            DownsampleUnit::plain,
            DownsampleUnit::forward,
            downsample_convolutions,
            &x,
            tolerance(&x),
            &what,
        );
    }
}

/// The kernels cannot read these memory layouts directly: permuted, narrowed, expanded.
#[test]
fn views_give_the_results_of_contiguous_tensors() {
    let device = Device::flex().autodiff();
    let plan = UnitPlan {
        inputs: 12,
        outputs: 12,
        left: 6,
        residual: true,
    };
    let mut unit = BasicUnit::new(&plan, false, &mut Initialiser::new(5, &device));
    perturbed(basic_mut(&mut unit));
    let views = [
        noise(1, [3, 4, 12, 5], &device).swap_dims(1, 2),
        noise(2, [5, 20, 4, 6], &device)
            .narrow(1, 3, 12)
            .narrow(0, 1, 3),
        noise(3, [4, 5, 3, 12], &device).permute([2, 3, 0, 1]),
        noise(4, [1, 12, 4, 5], &device).expand([3, 12, 4, 5]) + noise(5, [3, 1, 4, 5], &device),
    ];
    for (i, x) in views.iter().enumerate() {
        compare(
            &unit,
            BasicUnit::plain,
            BasicUnit::forward,
            basic_convolutions,
            x,
            tolerance(x),
            &format!("view {i}"),
        );
    }
}
