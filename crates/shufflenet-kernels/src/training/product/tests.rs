//! Tests of the products of a 1x1 convolution with bfloat16 activations, on every instruction set. They are compared
//! with sums in float64 over the values that each instruction set reads.

use half::bf16;

use super::*;
use crate::kernels::packing::ConvNorm;
use crate::simd::Products;
use crate::testing::numbers;

/// Rows, inputs and outputs: sizes of the network with tails, and odd sizes. Some have more rows than a block of vectors.
const SIZES: [[usize; 3]; 4] = [[300, 58, 58], [257, 24, 116], [32, 33, 7], [5, 1, 40]];

fn stored(count: usize, seed: usize) -> Vec<bf16> {
    numbers(count, seed)
        .into_iter()
        .map(bf16::from_f32)
        .collect()
}

fn rounded(x: f32) -> f64 {
    f64::from(bf16::from_f32(x).widened())
}

/// Whether `found` is `exact` up to the error of float32 and the rounding to bfloat16.
fn near(found: bf16, exact: f64) -> bool {
    (f64::from(found.widened()) - exact).abs() <= exact.abs() / 256.0 + 1e-4
}

#[test]
fn the_forward_is_the_sum_of_products() {
    for isa in Isa::available() {
        for [rows, inputs, outputs] in SIZES {
            let stride = inputs + 5;
            let (x, weight) = (stored(rows * stride, 1), numbers(inputs * outputs, 2));
            let scale: Vec<f32> = numbers(inputs, 3).iter().map(|x| x + 1.5).collect();
            let conv = ConvNorm {
                weight: &weight,
                gamma: &vec![1.0; outputs],
                beta: &[],
            };
            let weights = Weights::forward::<bf16>(isa, conv, Some(&scale));
            let mut out = vec![bf16::ZERO; rows * outputs];
            let block = weights.block_rows(inputs, outputs);
            let mut products = Forward::new::<bf16>(isa, &weights, block, [inputs, outputs]);
            for (i, out) in out.chunks_mut(block * outputs).enumerate() {
                let x = Rows::new(&x, stride).behind(i * block);
                products.block(out.len() / outputs, x, out);
            }
            for (at, found) in out.into_iter().enumerate() {
                let (row, output) = (at / outputs, at % outputs);
                let term = |k: usize| {
                    let w = weights.as_read(scale[k] * weight[output * inputs + k]);
                    f64::from(x[row * stride + k].widened()) * f64::from(w)
                };
                let exact = (0..inputs).map(term).sum();
                assert!(
                    near(found, exact),
                    "{isa:?} {row}, {output}: {found} {exact}"
                );
            }
        }
    }
}

#[test]
fn the_backward_is_the_sums_of_products_with_the_norms_gradient() {
    for isa in Isa::available() {
        for [rows, inputs, outputs] in SIZES {
            for accumulate in [false, true] {
                check_backward(isa, [rows, inputs, outputs], accumulate);
            }
        }
    }
}

fn check_backward(isa: Isa, [rows, inputs, outputs]: [usize; 3], accumulate: bool) {
    let stride = inputs + 5;
    let (x, weight) = (stored(rows * stride, 1), numbers(inputs * outputs, 2));
    let (y, g) = (stored(rows * outputs, 3), stored(rows * outputs, 4));
    let [mean, a, b, c] = [5, 6, 7, 8].map(|seed| {
        let mut vector = numbers(isa.padded(outputs), seed);
        vector[outputs..].fill(0.0);
        vector
    });
    let conv = ConvNorm {
        weight: &weight,
        gamma: &vec![1.0; outputs],
        beta: &[],
    };
    let weights = Weights::input_gradient::<bf16>(isa, conv);
    let way = match weights {
        Weights::Vectors(_) => Products::Widened,
        Weights::Pairs(_) => Products::Pairs,
        Weights::Tiles(_) => Products::Tiles,
    };
    assert_eq!(way, isa.bf16_products());
    let before = stored(rows * stride, 9);
    let mut dx = before.clone();
    let block = weights.block_rows(inputs, outputs);
    let mut products = Backward::new::<bf16>(isa, &weights, block, [inputs, outputs]);
    for start in (0..rows).step_by(block) {
        let from = BackwardBlock {
            rows: block.min(rows - start),
            x: Rows::new(&x, stride).behind(start),
            y: Rows::new(&y, outputs).behind(start),
            g: Rows::new(&g, outputs).behind(start),
            mean: &mean,
            factors: [&a, &b, &c],
        };
        let dx = Destination {
            data: &mut dx[start * stride..],
            stride,
            accumulate,
        };
        products.block(&from, dx);
    }
    let gradient = products.into_weight_gradient();
    let dy = |row: usize, output: usize| {
        let [y, g] = [&y, &g].map(|x| x[row * outputs + output].widened());
        let linear = (y - mean[output]).mul_add(b[output], c[output]);
        let dy = g.mul_add(a[output], linear);
        match way {
            Products::Widened => f64::from(dy),
            Products::Pairs | Products::Tiles => rounded(dy),
        }
    };
    for (at, (found, before)) in dx.into_iter().zip(before).enumerate() {
        let (row, input) = (at / stride, at % stride);
        if input >= inputs {
            assert_eq!(
                found.to_bits(),
                before.to_bits(),
                "{isa:?}: a value after the inputs changed"
            );
            continue;
        }
        let term = |output: usize| {
            let w = weights.as_read(weight[output * inputs + input]);
            dy(row, output) * f64::from(w)
        };
        let sum: f64 = (0..outputs).map(term).sum();
        let exact = match accumulate {
            true => sum + f64::from(before.widened()),
            false => sum,
        };
        assert!(
            near(found, exact),
            "{isa:?} {row}, {input}: {found} {exact}"
        );
    }
    for input in 0..inputs {
        for output in 0..outputs {
            let term = |row: usize| f64::from(x[row * stride + input].widened()) * dy(row, output);
            let exact: f64 = (0..rows).map(term).sum();
            let found = f64::from(gradient[input * isa.padded(outputs) + output]);
            let error = (found - exact).abs();
            assert!(error < 1e-3, "{isa:?} {input}, {output}: {found} {exact}");
        }
    }
}
