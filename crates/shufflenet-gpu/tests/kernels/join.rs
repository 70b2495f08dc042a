//! Tests of concatenation and shuffle, forward and backward.

use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::gradient_sums::GradientSums;
use shufflenet_gpu::join::{Side, join};
use shufflenet_gpu::pointwise::Columns;
use shufflenet_gpu::separate::{Branch, Passed, branches, passed_and_branch};

use crate::host::{
    Norm, arena, assert_close, client, columns, download, noise, relu, shuffled, upload, widened,
};

const EPSILON: f64 = 1e-5;

/// The output of a branch's last convolution, its norm, and the values after norm and ReLU.
fn branch(pixels: usize, channels: usize, seed: u64) -> (Vec<f32>, Norm, Vec<f64>) {
    let y = noise(pixels * channels, seed);
    let norm = Norm::of(
        &widened(&y),
        &noise(channels, seed + 1),
        &noise(channels, seed + 2),
        EPSILON,
    );
    let out = relu(&norm.apply(&widened(&y)));
    (y, norm, out)
}

/// Compares `g` with the gradient of the concatenation, which is zero where the ReLU's output is zero.
fn check_branch(found: &[f32], dcat: &[f64], out: &[f64], residual: &[f64]) {
    let masked: Vec<f64> = dcat
        .iter()
        .zip(out.iter().zip(residual))
        .map(|(g, (out, residual))| if out - residual > 0.0 { *g } else { 0.0 })
        .collect();
    assert_close("g", found, &masked);
}

/// Tests the end of a unit that passes on `left` channels and has a branch of `right` channels, on maps of `row` channels.
fn check_basic(pixels: usize, [left, right, row]: [usize; 3], residual: bool) {
    let client = client();
    let x = noise(pixels * row, 1);
    let (y, norm, transformed) = branch(pixels, right, 2);
    let passed = columns(&x, row, 0, left);
    let added = if residual {
        columns(&x, row, left, right)
    } else {
        vec![0.0; pixels * right]
    };
    let second: Vec<f64> = transformed.iter().zip(&added).map(|(a, b)| a + b).collect();
    let expected = shuffled(&passed, &second, pixels);

    let [x, y, rows] = [&x, &y, &norm.rows()].map(|values| upload(&client, values));
    let [x, behind] = [0, left].map(|first| Columns {
        data: x.clone(),
        row,
        first,
    });
    let first = Side::Passed {
        x: &x,
        channels: left,
    };
    let residual_of = residual.then_some(&behind);
    let side = Side::Transformed {
        y: &y,
        norm: &rows,
        channels: right,
        residual: residual_of,
    };
    assert_close("out", &download(&join(&first, &side, pixels)), &expected);

    // The shuffle only moves values, so the gradient of a shuffled gradient is the gradient before it.
    let [d_left, d_right] = [noise(pixels * left, 7), noise(pixels * right, 8)];
    let dout: Vec<f32> = shuffled(&widened(&d_left), &widened(&d_right), pixels)
        .iter()
        .map(|x| *x as f32)
        .collect();
    let dx = upload(&client, &vec![9.0; pixels * row]);
    let of = Branch {
        y: &y,
        norm: &rows,
        columns: right,
    };
    let passed = Passed {
        dx: &dx,
        channels: left,
        residual,
    };
    let (g, sums) = passed_and_branch(&upload(&client, &dout), pixels, &passed, &of);
    check_branch(&download(&g), &widened(&d_right), &second, &added);
    let dx = download(&dx);
    assert_close(
        "dx, passed on",
        &dx.chunks(row)
            .flat_map(|x| &x[..left])
            .copied()
            .collect::<Vec<_>>(),
        &widened(&d_left),
    );
    let behind: Vec<f32> = dx.chunks(row).flat_map(|x| &x[left..]).copied().collect();
    if residual {
        assert_close("dx, residual", &behind, &widened(&d_right));
    } else {
        assert!(
            behind.iter().all(|x| *x == 9.0),
            "the branch's input was written"
        );
    }
    check_sums(&sums, &download(&g), &y, &norm, &rows);
}

/// Compares the gradients of the norm's parameters with those that follow from the stored `g`.
fn check_sums(sums: &GradientSums, g: &[f32], y: &Buffer, norm: &Norm, rows: &Buffer) {
    let y = widened(&download(y));
    let [_, dgamma, dbeta] = norm.backward(&y, &widened(g));
    let made = sums.finish(rows, y.len() / norm.mean.len(), &arena(&rows.client));
    assert_close("dbeta", &download(&made.beta), &dbeta);
    assert_close("dgamma", &download(&made.gamma), &dgamma);
}

#[test]
fn units_that_pass_channels_on() {
    for half in [24, 58, 116] {
        check_basic(211, [half, half, 2 * half], false);
        check_basic(211, [half, half, 2 * half], true);
    }
}

#[test]
fn unequal_splits_and_odd_widths() {
    check_basic(97, [12, 36, 48], true);
    check_basic(97, [7, 3, 12], false);
    check_basic(5, [1, 5, 6], true);
    check_basic(10_007, [24, 24, 48], false);
}

#[test]
fn two_branches() {
    let client = client();
    for [pixels, left, right] in [[211, 24, 24], [97, 58, 58], [97, 5, 11]] {
        let sides = [branch(pixels, left, 10), branch(pixels, right, 20)];
        let expected = shuffled(&sides[0].2, &sides[1].2, pixels);
        let there = sides
            .each_ref()
            .map(|(y, norm, _)| [upload(&client, y), upload(&client, &norm.rows())]);
        let side = |i: usize, channels| Side::Transformed {
            y: &there[i][0],
            norm: &there[i][1],
            channels,
            residual: None,
        };
        assert_close(
            "out",
            &download(&join(&side(0, left), &side(1, right), pixels)),
            &expected,
        );

        let gradients = [noise(pixels * left, 30), noise(pixels * right, 31)];
        let dout = shuffled(&widened(&gradients[0]), &widened(&gradients[1]), pixels);
        let dout = upload(&client, &dout.iter().map(|x| *x as f32).collect::<Vec<_>>());
        let of = |i: usize, columns| Branch {
            y: &there[i][0],
            norm: &there[i][1],
            columns,
        };
        // The branches are given in both orders, for the same concatenation.
        let in_order = branches(&dout, pixels, &[of(0, left), of(1, right)], false);
        let [second, first] = branches(&dout, pixels, &[of(1, right), of(0, left)], true);
        for found in [in_order, [first, second]] {
            for (i, (g, sums)) in found.iter().enumerate() {
                let (_, norm, out) = &sides[i];
                let g = download(g);
                check_branch(&g, &widened(&gradients[i]), out, &vec![0.0; out.len()]);
                check_sums(sums, &g, &there[i][0], norm, &there[i][1]);
            }
        }
    }
}

#[test]
fn nan_passes_through_a_relu() {
    let client = client();
    let y = upload(&client, &[f32::NAN, 1.0]);
    let norm = upload(&client, &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    let side = || Side::Transformed {
        y: &y,
        norm: &norm,
        channels: 2,
        residual: None,
    };
    let out = download(&join(&side(), &side(), 1));
    assert!(out[0].is_nan() && out[1].is_nan(), "{out:?}");
}
