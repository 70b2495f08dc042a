//! Tests of the kernels in bfloat16 against plain units that round the values that the kernels store: each convolution's
//! output, the unit's output, and the gradients of the input and of each batch norm's output.
//!
//! A plain unit without rounding cannot be the reference, because a value near zero may round to the other side of a ReLU.
//! Its gradient is then lost or gained as a whole.

use burn::tensor::{DType, Device, Tensor, activation};

use super::*;
use crate::batch_norm::EPSILON;
use crate::testing::{gradient_stored, stored, through_bf16, with_rounding};

/// Largest accepted distances: of the gradients of gamma and beta (the second), and of everything else (the first).
///
/// A difference `d` in the last bits of a sum makes one value in `1 / (256 d)` round to its neighbour, a distance of about
/// `sqrt(d / 256)`. A gradient has three roundings in a row, which turn `1e-6` into `1e-3`. The distance of a plain unit
/// without rounding is ten times as large (`2.5e-2`).
///
/// The gradients of gamma and beta are sums in which most terms cancel, because the norm after a depthwise convolution
/// removes a factor of its input. Moreover, the kernel computes the sums of that norm's backward from its gradient before
/// the gradient is stored.
const TOLERANCE: [f32; 2] = [2.5e-3, 2e-2];

/// Batch norm of a stored `y`, followed by a ReLU if `conv` has one.
fn normed(conv: &ConvNorm, y: Tensor<4>) -> Tensor<4> {
    let y = gradient_stored(conv.norm.forward(y));
    if conv.relu { activation::relu(y) } else { y }
}

/// Convolution, rounding, batch norm, ReLU.
fn first(conv: &ConvNorm, x: Tensor<4>) -> Tensor<4> {
    normed(conv, stored(conv.conv.forward(x)))
}

/// The depthwise convolution and the 1x1 convolution after it. The kernel rounds the output of the 1x1 convolution without
/// the part that comes from the shift of the norm between the two.
fn last_two(depthwise: &ConvNorm, pointwise: &ConvNorm, z: Tensor<4>) -> Tensor<4> {
    let y2 = stored(depthwise.conv.forward(z));
    let pixels = y2.clone().detach().swap_dims(0, 1).flatten::<2>(1, 3);
    let (variance, mean) = pixels.var_mean_bias(1);
    let norm = &depthwise.norm;
    let [gamma, beta] = [&norm.gamma, &norm.beta].map(|param| param.val().unsqueeze_dim::<2>(1));
    let shift = beta - mean * gamma / (variance + EPSILON).sqrt();
    let channels = shift.dims()[0];
    let shift = shift.reshape([1, channels, 1, 1]);
    let left_out = pointwise.conv.forward(shift).detach();
    let y3 = pointwise.conv.forward(normed(depthwise, y2));
    normed(pointwise, stored(y3 - left_out.clone()) + left_out)
}

fn right(branch: &Branch, x: Tensor<4>) -> Tensor<4> {
    let z = first(&branch.pointwise1, x);
    last_two(&branch.depthwise, &branch.pointwise2, z)
}

fn basic(unit: &BasicUnit, x: Tensor<4>) -> Tensor<4> {
    let x = gradient_stored(x);
    let left = x.clone().narrow(1, 0, unit.left_channels);
    let input = x
        .clone()
        .narrow(1, unit.left_channels, x.dims()[1] - unit.left_channels);
    let mut transformed = right(&unit.right, input.clone());
    if unit.residual {
        transformed = transformed + input;
    }
    through_bf16(channel_shuffle(
        Tensor::cat(vec![left, transformed], 1),
        BRANCHES,
    ))
}

fn downsample(unit: &DownsampleUnit, x: Tensor<4>) -> Tensor<4> {
    let x = gradient_stored(x);
    // The left branch stores its gradient of the input before the right branch adds to it.
    let left = gradient_stored(x.clone());
    let left = last_two(&unit.left_depthwise, &unit.left_pointwise, left);
    let mut branches = vec![left, right(&unit.right, x)];
    if unit.right_first {
        branches.reverse();
    }
    through_bf16(channel_shuffle(Tensor::cat(branches, 1), BRANCHES))
}

/// Runs `forward` between bfloat16 activations.
fn in_bf16(x: Tensor<4>, forward: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let out = forward(x.cast(DType::BF16));
    assert_eq!(out.dtype(), DType::BF16);
    out.cast(DType::F32)
}

#[test]
fn the_stride_1_kernel_in_bfloat16_equals_the_rounded_plain_unit() {
    let device = Device::flex().autodiff();
    // Inputs, outputs, left, residual, batch, height, width.
    let cases = [
        (48, 48, 24, false, 8, 6, 6),
        (48, 48, 24, true, 3, 5, 7),
        (116, 116, 58, false, 4, 4, 4),
        (34, 34, 10, true, 20, 4, 3),
    ];
    for (inputs, outputs, left, residual, batch, height, width) in cases {
        let plan = UnitPlan {
            inputs,
            outputs,
            left,
            residual,
        };
        let mut unit = BasicUnit::new(&plan, false, &mut Initialiser::new(5, &device));
        perturbed(basic_mut(&mut unit));
        let x = through_bf16(noise(7, [batch, inputs, height, width], &device));
        compare(
            &unit,
            basic,
            |unit, x| in_bf16(x, |x| unit.forward(x)),
            basic_convolutions,
            &x,
            TOLERANCE.map(with_rounding),
            &format!("{inputs}->{outputs}, left {left}, residual {residual}"),
        );
    }
}

#[test]
fn the_stride_2_kernel_in_bfloat16_equals_the_rounded_plain_unit() {
    let device = Device::flex().autodiff();
    // Inputs, branch, right first, batch, height, width.
    let cases = [
        (24, 24, false, 8, 8, 8),
        (24, 58, true, 3, 7, 5),
        (17, 33, false, 6, 7, 6),
    ];
    for (inputs, branch, right_first, batch, height, width) in cases {
        let plan = StagePlan {
            inputs,
            branch,
            units: Vec::new(),
        };
        let init = &mut Initialiser::new(5, &device);
        let mut unit = DownsampleUnit::new(&plan, right_first, false, init);
        perturbed(downsample_mut(&mut unit));
        let x = through_bf16(noise(7, [batch, inputs, height, width], &device));
        compare(
            &unit,
            downsample,
            |unit, x| in_bf16(x, |x| unit.forward(x)),
            downsample_convolutions,
            &x,
            TOLERANCE.map(with_rounding),
            &format!("{inputs}->2x{branch}, right first {right_first}"),
        );
    }
}
