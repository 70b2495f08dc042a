//! Tests of the depthwise convolution and of the moments of its output.

use shufflenet_gpu::depthwise::forward;
use shufflenet_gpu::norm::Reading;
use shufflenet_gpu::pointwise::Columns;

use crate::host::{
    CONFIG, Norm, arena, assert_close, assert_moved, client, columns, conv_norm, depthwise,
    download, noise, relu, upload,
};

const EPSILON: f64 = 1e-5;

/// Runs the convolution on some channels of a map, and compares output, norm and statistics.
fn check(
    shape: [usize; 3],
    stride: usize,
    [row, first, channels]: [usize; 3],
    reading: Reading,
    shift: f32,
) {
    let client = client();
    let pixels = shape.iter().product::<usize>();
    let x: Vec<f32> = noise(pixels * row, 1).iter().map(|x| x + shift).collect();
    let weight = noise(channels * 9, 2);
    let [gamma, beta] = [3, 4].map(|seed| noise(channels, seed));
    let read = columns(&x, row, first, channels);
    let input = Norm::of(&read, &gamma, &beta, EPSILON);
    let z = match reading {
        Reading::Plain => read,
        Reading::Norm => input.apply(&read),
        Reading::NormRelu => relu(&input.apply(&read)),
    };
    let expected = depthwise(&z, shape, stride, &weight);

    let norm = upload(&client, &input.rows());
    let norm = (!matches!(reading, Reading::Plain)).then_some((&norm, reading));
    let data = upload(&client, &x);
    let x = Columns { data, row, first };
    let weight_there = upload(&client, &weight);
    let (y, seen) = forward(&x, shape, stride, norm, &weight_there);
    let found = download(&y);
    assert_close("y", &found, &expected);

    let stored: Vec<f64> = found.iter().map(|x| f64::from(*x)).collect();
    let (conv, before) = conv_norm(&weight_there, channels);
    let (_, running) = seen.finish(&conv, &before, CONFIG, &arena(&client));
    assert_moved(&before, &running, &stored);
}

#[test]
fn widths_of_the_published_networks() {
    for channels in [24, 58, 116] {
        for stride in [1, 2] {
            let map = [channels, 0, channels];
            check([2, 8, 8], stride, map, Reading::NormRelu, 0.0);
        }
    }
}

#[test]
fn odd_sizes_and_a_branch_in_the_middle_of_a_map() {
    for stride in [1, 2] {
        for shape in [[3, 5, 7], [1, 9, 2], [5, 1, 3], [2, 6, 13]] {
            // No published network has these odd widths, so one kind of reading per stride is enough.
            let reading = match stride {
                1 => Reading::Norm,
                _ => Reading::NormRelu,
            };
            check(shape, stride, [13, 6, 7], reading, 0.0);
            check(shape, stride, [116, 58, 58], Reading::NormRelu, 0.0);
            check(shape, stride, [13, 1, 8], Reading::Plain, 0.0);
        }
        check([3, 1, 1], stride, [1, 0, 1], Reading::Plain, 0.0);
    }
}

#[test]
fn more_tiles_than_rows_of_workgroups() {
    check([17, 57, 61], 1, [32, 0, 32], Reading::NormRelu, 0.0);
    check([67, 57, 61], 2, [32, 0, 32], Reading::NormRelu, 0.0);
}

#[test]
fn a_mean_far_from_zero_loses_no_digits() {
    check([7, 11, 11], 2, [24, 0, 24], Reading::Plain, 1000.0);
}

#[test]
fn two_runs_give_the_same_bits() {
    let client = client();
    let data = upload(&client, &noise(7 * 13 * 11 * 24, 1));
    let x = Columns {
        data,
        row: 24,
        first: 0,
    };
    let weight = upload(&client, &noise(24 * 9, 2));
    let run = || {
        let (y, seen) = forward(&x, [7, 13, 11], 2, None, &weight);
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
