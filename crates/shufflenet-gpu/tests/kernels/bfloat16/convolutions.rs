//! Tests of the 1x1 and the depthwise convolution in bfloat16, forward and backward.

use shufflenet_gpu::gradient_sums::{Backward, Gradient};
use shufflenet_gpu::norm::Reading;
use shufflenet_gpu::pointwise::{self, Columns};
use shufflenet_gpu::{depthwise, depthwise_gradient, pointwise_backward};

use super::{BOTH, assert_moments, assert_rounded, assert_sums, behind, map, norm_of, read};
use crate::host::{arena, bits, client, download, noise, upload};

#[test]
fn the_1x1_convolution() {
    let client = client();
    for [row, first, inputs, outputs] in [[24, 0, 24, 24], [116, 58, 58, 58]] {
        let pixels = 211;
        let weight = upload(&client, &noise(outputs * inputs, 2));
        let runs = BOTH.map(|stored| {
            let x = Columns {
                data: map(&client, pixels * row, 1, stored),
                row,
                first,
            };
            let norm = upload(&client, &norm_of(&read(&x, inputs), inputs).rows());
            let with = Some((&norm, Reading::NormRelu));
            pointwise::forward(&x, pixels, inputs, with, &weight)
        });
        assert_rounded("y", runs.each_ref().map(|(y, _)| y));
        let (y, moments) = &runs[1];
        assert_moments(y, outputs, moments);
    }
}

#[test]
fn the_1x1_convolution_backward_through_a_norm() {
    let client = client();
    for [inputs, outputs] in [[24, 24], [58, 58]] {
        let pixels = 211;
        let weight = upload(&client, &noise(outputs * inputs, 2));
        let runs = BOTH.map(|stored| {
            let x = map(&client, pixels * inputs, 1, stored);
            let [g, y, factors] = behind(&client, pixels * outputs, outputs, stored);
            let gradient = Gradient {
                g: &g,
                y: &y,
                factors: &factors,
            };
            let norm = norm_of(&download(&x), inputs);
            let rows = upload(&client, &norm.rows());
            let with = (&rows, Reading::NormRelu);
            let Backward { g, sums, weight } =
                pointwise_backward::through_norm(&gradient, pixels, &weight, &x, with);
            assert_sums(&g, &sums, &x, &norm);
            (g, weight.sum(&arena(&client)))
        });
        assert_rounded("g", runs.each_ref().map(|(g, _)| g));
        let [wide, narrow] = runs.each_ref().map(|(_, weight)| bits([weight]));
        assert_eq!(wide, narrow, "dW");
    }
}

#[test]
fn the_1x1_convolution_backward_into_a_map() {
    let client = client();
    for add in [false, true] {
        let [row, first, inputs, outputs] = [116, 58, 58, 58];
        let pixels = 97;
        let weight = upload(&client, &noise(outputs * inputs, 2));
        let runs = BOTH.map(|stored| {
            let x = Columns {
                data: map(&client, pixels * row, 1, stored),
                row,
                first,
            };
            let to = Columns {
                data: map(&client, pixels * row, 3, stored),
                row,
                first,
            };
            let [g, y, factors] = behind(&client, pixels * outputs, outputs, stored);
            let gradient = Gradient {
                g: &g,
                y: &y,
                factors: &factors,
            };
            let product = pointwise_backward::into_map(&gradient, pixels, &weight, &x, &to, add);
            (to.data, product.sum(&arena(&client)))
        });
        assert_rounded("dx", runs.each_ref().map(|(dx, _)| dx));
        let [wide, narrow] = runs.each_ref().map(|(_, weight)| bits([weight]));
        assert_eq!(wide, narrow, "dW");
    }
}

#[test]
fn the_depthwise_convolution() {
    let client = client();
    let shape @ [images, height, width] = [3, 5, 7];
    for (stride, [row, first, channels]) in [(1, [24, 0, 24]), (2, [116, 58, 58])] {
        let weight = upload(&client, &noise(9 * channels, 2));
        let runs = BOTH.map(|stored| {
            let data = map(&client, images * height * width * row, 1, stored);
            let x = Columns { data, row, first };
            let norm = upload(&client, &norm_of(&read(&x, channels), channels).rows());
            let with = Some((&norm, Reading::NormRelu));
            depthwise::forward(&x, shape, stride, with, &weight)
        });
        assert_rounded("y", runs.each_ref().map(|(y, _)| y));
        let (y, moments) = &runs[1];
        assert_moments(y, channels, moments);
    }
}

#[test]
fn the_depthwise_convolution_backward() {
    let client = client();
    let shape @ [images, height, width]: [usize; 3] = [3, 5, 7];
    let pixels = images * height * width;
    for (stride, channels) in [(1, 58), (2, 24)] {
        let weight = upload(&client, &noise(9 * channels, 2));
        let outputs = images * height.div_ceil(stride) * width.div_ceil(stride) * channels;
        let runs = BOTH.map(|stored| {
            let data = map(&client, pixels * channels, 1, stored);
            let [g, y, factors] = behind(&client, outputs, channels, stored);
            let gradient = Gradient {
                g: &g,
                y: &y,
                factors: &factors,
            };
            let norm = norm_of(&download(&data), channels);
            let rows = upload(&client, &norm.rows());
            let x = Columns {
                data,
                row: channels,
                first: 0,
            };
            let with = Some((&rows, Reading::NormRelu));
            let Backward { g, sums, weight } =
                depthwise_gradient::backward(&gradient, &weight, &x, shape, stride, with);
            assert_sums(&g, &sums, &x.data, &norm);
            (g, weight.sum(&arena(&client)))
        });
        assert_rounded("g", runs.each_ref().map(|(g, _)| g));
        let [wide, narrow] = runs.each_ref().map(|(_, weight)| bits([weight]));
        assert_eq!(wide, narrow, "dw");
    }
}
