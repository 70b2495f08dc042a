//! Tests of the 1x1 convolution, of the moments of its output, and of the norm computed from them.

use shufflenet_gpu::norm::Reading;
use shufflenet_gpu::pointwise::{self, Columns};

use crate::host::{
    CONFIG, Norm, arena, assert_close, assert_moved, client, columns, conv_norm, download, noise,
    product, relu, upload,
};

const EPSILON: f64 = 1e-5;

/// Runs the convolution on `pixels` pixels, and compares output, norm and statistics.
fn check(pixels: usize, [row, first, inputs, outputs]: [usize; 4], reading: Reading, shift: f32) {
    let client = client();
    let x: Vec<f32> = noise(pixels * row, 1).iter().map(|x| x + shift).collect();
    let weight = noise(outputs * inputs, 2);
    let [gamma, beta] = [3, 4].map(|seed| noise(inputs, seed));
    let read = columns(&x, row, first, inputs);
    let input = Norm::of(&read, &gamma, &beta, EPSILON);
    let left = match reading {
        Reading::Plain => read,
        Reading::Norm => input.apply(&read),
        Reading::NormRelu => relu(&input.apply(&read)),
    };
    let expected = product(&left, &weight, inputs);

    let norm = upload(&client, &input.rows());
    let norm = (!matches!(reading, Reading::Plain)).then_some((&norm, reading));
    let data = upload(&client, &x);
    let x = Columns { data, row, first };
    let weight_there = upload(&client, &weight);
    let (y, seen) = pointwise::forward(&x, pixels, inputs, norm, &weight_there);
    let found = download(&y);
    assert_close("y", &found, &expected);

    // The statistics are compared with those of the stored values.
    let stored: Vec<f64> = found.iter().map(|x| f64::from(*x)).collect();
    let [gamma, beta] = [5, 6].map(|seed| noise(outputs, seed));
    let (conv, before) = conv_norm(&weight_there, outputs);
    let (made, running) = seen.finish(&conv, &before, CONFIG, &arena(&client));
    let rows: Vec<f64> = Norm::of(&stored, &gamma, &beta, EPSILON)
        .rows()
        .iter()
        .map(|x| f64::from(*x))
        .collect();
    assert_close("norm", &download(&made), &rows);
    assert_moved(&before, &running, &stored);
}

#[test]
fn widths_of_the_published_networks() {
    for [inputs, outputs] in [
        [24, 24],
        [24, 58],
        [48, 48],
        [58, 58],
        [96, 96],
        [116, 116],
        [232, 232],
    ] {
        check(211, [inputs, 0, inputs, outputs], Reading::Norm, 0.0);
    }
    check(37, [192, 0, 192, 1024], Reading::Plain, 0.0);
}

#[test]
fn odd_widths_and_a_branch_in_the_middle_of_a_map() {
    check(97, [13, 6, 7, 5], Reading::Norm, 0.0);
    check(97, [116, 58, 58, 58], Reading::Norm, 0.0);
    check(2, [1, 0, 1, 1], Reading::Plain, 0.0);
}

#[test]
fn more_tiles_than_rows_of_workgroups() {
    check(70_001, [24, 0, 24, 24], Reading::NormRelu, 0.0);
}

#[test]
fn a_mean_far_from_zero_loses_no_digits() {
    check(1009, [24, 0, 24, 24], Reading::Plain, 1000.0);
}

#[test]
fn two_runs_give_the_same_bits() {
    let client = client();
    let x = Columns {
        data: upload(&client, &noise(1009 * 24, 1)),
        row: 24,
        first: 0,
    };
    let weight = upload(&client, &noise(24 * 24, 2));
    let run = || {
        let (y, seen) = pointwise::forward(&x, 1009, 24, None, &weight);
        let (conv, before) = conv_norm(&weight, 24);
        let (norm, running) = seen.finish(&conv, &before, CONFIG, &arena(&client));
        [y, norm, running.mean, running.variance].map(|buffer| {
            download(&buffer)
                .iter()
                .map(|x| x.to_bits())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(run(), run());
}
