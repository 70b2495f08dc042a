//! Tests of the gradients of the 1x1 convolution, and of the sums for the norm before it.

use shufflenet_gpu::gradient_sums::Gradient;
use shufflenet_gpu::norm::Reading;
use shufflenet_gpu::pointwise::Columns;
use shufflenet_gpu::pointwise_backward::{into_map, through_norm};

use crate::host::{
    Norm, arena, assert_close, bits, client, columns, download, noise, product_backward, relu,
    upload, widened,
};

const EPSILON: f64 = 1e-5;

/// The four rows that kernels read: mean, a, b, c.
fn factors(norm: &Norm, y: &[f64], g: &[f64]) -> Vec<f32> {
    let [_, gamma, beta] = norm.backward(y, g);
    let channels = norm.mean.len();
    let n = (y.len() / channels) as f64;
    let rstd = |c: usize| 1.0 / (norm.variance[c] + norm.epsilon).sqrt();
    let scale = |c: usize| f64::from(norm.gamma[c]) * rstd(c);
    let row =
        |value: &dyn Fn(usize) -> f64| (0..channels).map(|c| value(c) as f32).collect::<Vec<_>>();
    [
        row(&|c| norm.mean[c]),
        row(&scale),
        row(&|c| -scale(c) * rstd(c) * gamma[c] / n),
        row(&|c| -scale(c) * beta[c] / n),
    ]
    .concat()
}

/// Tests all gradients of a convolution that reads `inputs` of a map's `row` channels, from `first` on.
fn check(pixels: usize, [row, first, inputs, outputs]: [usize; 4], reading: Reading) {
    let client = client();
    let [x, y, g] = [(row, 1), (outputs, 2), (outputs, 3)].map(|(n, seed)| noise(pixels * n, seed));
    let weight = noise(outputs * inputs, 4);
    let after = Norm::of(
        &widened(&y),
        &noise(outputs, 5),
        &noise(outputs, 6),
        EPSILON,
    );
    let read = columns(&x, row, first, inputs);
    let before = Norm::of(&read, &noise(inputs, 7), &noise(inputs, 8), EPSILON);
    let left = match reading {
        Reading::Plain => read.clone(),
        Reading::Norm => before.apply(&read),
        Reading::NormRelu => relu(&before.apply(&read)),
    };
    let [dy, ..] = after.backward(&widened(&y), &widened(&g));
    let [mut dx, dw] = product_backward(&dy, &left, &weight, inputs);

    let factors = upload(&client, &factors(&after, &widened(&y), &widened(&g)));
    let [y, g, there] = [&y, &g, &weight].map(|values| upload(&client, values));
    let gradient = Gradient {
        g: &g,
        y: &y,
        factors: &factors,
    };
    let map = Columns {
        data: upload(&client, &x),
        row,
        first,
    };
    let norm = upload(&client, &before.rows());
    let with = (!matches!(reading, Reading::Plain)).then_some((&norm, reading));
    let Some(with) = with else {
        let old = noise(pixels * row, 9);
        for add in [false, true] {
            let to = Columns {
                data: upload(&client, &old),
                row,
                first,
            };
            let product = into_map(&gradient, pixels, &there, &map, &to, add);
            assert_close("dW", &download(&product.sum(&arena(&client))), &dw);
            let mut expected = widened(&old);
            for (i, dx) in dx.iter().enumerate() {
                let at = i / inputs * row + first + i % inputs;
                expected[at] = if add { expected[at] + dx } else { *dx };
            }
            assert_close("dx", &download(&to.data), &expected);
        }
        return;
    };
    // The gradient of the norm's output, which is zero where the ReLU's output is zero.
    if matches!(reading, Reading::NormRelu) {
        dx.iter_mut().zip(&left).for_each(|(dx, z)| {
            if *z <= 0.0 {
                *dx = 0.0
            }
        });
    }
    let stored: Vec<f32> = read.iter().map(|x| *x as f32).collect();
    let x = upload(&client, &stored);
    let found = through_norm(&gradient, pixels, &there, &x, with);
    assert_close("g", &download(&found.g), &dx);
    let (made, weight) = found
        .sums
        .finish_with(&norm, pixels, &found.weight, &arena(&client));
    assert_close("dW", &download(&weight), &dw);
    assert_eq!(
        bits([&weight]),
        bits([&found.weight.sum(&arena(&client))]),
        "the two ways of adding differ"
    );
    let [_, gamma, beta] = before.backward(&read, &dx);
    if matches!(reading, Reading::NormRelu) {
        assert_close("dbeta", &download(&made.beta), &beta);
    } else {
        // The norm after the convolution removes the mean of `dy`, so these sums are zero except for rounding.
        let most = 1e-5 * dx.iter().map(|g| g.abs()).sum::<f64>();
        let found = download(&made.beta);
        assert!(
            found.iter().all(|sum| f64::from(sum.abs()) < most),
            "dbeta: {found:?}"
        );
    }
    assert_close("dgamma", &download(&made.gamma), &gamma);
    assert_close(
        "factors",
        &download(&made.factors),
        &widened(&self::factors(&before, &read, &dx)),
    );
}

#[test]
fn widths_of_the_published_networks() {
    for [inputs, outputs] in [[24, 58], [58, 58], [116, 116]] {
        check(211, [inputs, 0, inputs, outputs], Reading::Norm);
    }
}

#[test]
fn odd_widths_and_a_branch_in_the_middle_of_a_map() {
    check(97, [13, 6, 7, 5], Reading::Plain);
    check(97, [116, 58, 58, 58], Reading::Plain);
    check(97, [58, 0, 58, 58], Reading::Norm);
    check(3, [1, 0, 1, 1], Reading::Plain);
}

#[test]
fn the_weights_gradient_has_fewer_units_than_the_launch() {
    // The first launch has 240 units for the input's gradient and 216 for the weight's, the second 252 for both.
    check(211, [40, 0, 40, 20], Reading::Plain);
    check(97, [7, 0, 7, 5], Reading::Norm);
}

#[test]
fn more_tiles_than_rows_of_workgroups() {
    check(70_001, [24, 0, 24, 24], Reading::NormRelu);
}

#[test]
fn two_runs_give_the_same_bits() {
    let client = client();
    let [g, y, x] = [1, 2, 3].map(|seed| upload(&client, &noise(1009 * 24, seed)));
    let [factors, norm] = [4, 5].map(|seed| upload(&client, &noise(4 * 24, seed)));
    let weight = upload(&client, &noise(24 * 24, 6));
    let gradient = Gradient {
        g: &g,
        y: &y,
        factors: &factors,
    };
    let run = || {
        let with = (&norm, Reading::NormRelu);
        let found = through_norm(&gradient, 1009, &weight, &x, with);
        let (made, dw) = found
            .sums
            .finish_with(&norm, 1009, &found.weight, &arena(&client));
        bits([&found.g, &made.factors, &made.gamma, &dw])
    };
    assert_eq!(run(), run());
}
