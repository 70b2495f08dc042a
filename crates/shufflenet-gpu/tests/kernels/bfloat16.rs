//! Kernels between maps in bfloat16: each stores the rounded bits of what the same kernel between float32 maps stores. The
//! other tests hold the latter to float64.
//!
//! Both read the same values, which bfloat16 has. What is not a map has the same bits in both, except for sums of rounded
//! values, which are held to float64 here.

use cubecl::prelude::Client;
use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::cast::cast;
use shufflenet_gpu::gradient_sums::{Backward, Gradient, GradientSums};
use shufflenet_gpu::join::{Side, join};
use shufflenet_gpu::max_pool::max_pool;
use shufflenet_gpu::moments::Moments;
use shufflenet_gpu::norm::Reading;
use shufflenet_gpu::pointwise::{self, Columns};
use shufflenet_gpu::relu_gradient::{Behind, relu_gradient};
use shufflenet_gpu::separate::{Branch, Passed, branches, passed_and_branch};
use shufflenet_gpu::stem::{self, Stem};
use shufflenet_gpu::stored::Stored;
use shufflenet_gpu::{depthwise, depthwise_gradient, head, pointwise_backward, stem_gradient};

use crate::host::{
    CONFIG, Norm, arena, assert_close, assert_moved, assert_within, bits, client, columns,
    conv_norm, download, noise, rounded, upload, upload_as, widened,
};

const BOTH: [Stored; 2] = [Stored::F32, Stored::Bf16];

/// A map of noise that bfloat16 has.
fn map(client: &Client, len: usize, seed: u64, stored: Stored) -> Buffer {
    upload_as(client, &rounded(&noise(len, seed), Stored::Bf16), stored)
}

/// Asserts that the second map is the first one rounded.
fn assert_rounded(what: &str, [wide, narrow]: [&Buffer; 2]) {
    assert_eq!(
        (wide.stored, narrow.stored),
        (Stored::F32, Stored::Bf16),
        "{what}"
    );
    let expected = rounded(&download(wide), Stored::Bf16);
    let found = download(narrow);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.to_bits(), expected.to_bits(), "{what}, value {i}");
    }
    assert!(found.iter().any(|x| *x != 0.0), "{what} is zero");
}

/// Asserts that the moments of `channels` channels are those of the values as they were stored.
fn assert_moments(y: &Buffer, channels: usize, moments: &Moments) {
    let (conv, before) = conv_norm(&upload(&y.client, &[1.0]), channels);
    let (_, running) = moments.finish(&conv, &before, CONFIG, &arena(&before.mean.client));
    assert_moved(&before, &running, &widened(&download(y)));
}

/// Asserts that the sums of `g` behind the norm of `y` are those of the values as they were stored.
fn assert_sums(g: &Buffer, sums: &GradientSums, y: &Buffer, norm: &Norm) {
    let rows = upload(&y.client, &norm.rows());
    let y = widened(&download(y));
    let g = widened(&download(g));
    let made = sums.finish(&rows, y.len() / norm.mean.len(), &arena(&rows.client));
    let [_, gamma, beta] = norm.backward(&y, &g);
    // Sums of values whose sizes are those of their absolute values: much of them cancels.
    let absolute: Vec<f64> = g.iter().map(|g| g.abs()).collect();
    let [.., scale] = norm.backward(&y, &absolute);
    assert_within("dgamma", &download(&made.gamma), &gamma, &scale);
    assert_within("dbeta", &download(&made.beta), &beta, &scale);
}

/// A norm of these values with noise for its parameters.
fn norm_of(values: &[f32], channels: usize) -> Norm {
    let [gamma, beta] = [21, 22].map(|seed| noise(channels, seed));
    Norm::of(&widened(values), &gamma, &beta, CONFIG.epsilon)
}

/// The map's channels from the first one on that is meant.
fn read(x: &Columns, channels: usize) -> Vec<f32> {
    let all = columns(&download(&x.data), x.row, x.first, channels);
    all.iter().map(|x| *x as f32).collect()
}

/// What the gradient of a convolution's output is made of: `g`, `y`, and factors.
fn behind(client: &Client, len: usize, channels: usize, stored: Stored) -> [Buffer; 3] {
    let [g, y] = [11, 12].map(|seed| map(client, len, seed, stored));
    [g, y, upload(client, &noise(4 * channels, 13))]
}

#[test]
fn a_value_is_rounded_to_the_nearest_and_ties_to_even() {
    let client = client();
    let one = 1.0f32.to_bits();
    let given = [
        one,
        one + 0x7fff,
        one + 0x8000,
        one + 0x8001,
        one + 0x1_8000,
        0x7f7f_ffff,
        0xff80_0000,
        0xbf80_8000,
    ];
    let expected = [
        0x3f80, 0x3f80, 0x3f80, 0x3f81, 0x3f82, 0x7f80, 0xff80, 0xbf80,
    ];
    let out = pointwise_of(&client, &given.map(f32::from_bits));
    assert_eq!(out.map(|x| x.to_bits() >> 16), expected);

    // A NaN in the lower half alone would become infinite.
    let nan = pointwise_of(
        &client,
        &[
            0x7f80_0001,
            0xff80_0001,
            0x7fff_ffff,
            0x7fc0_0000,
            one,
            one,
            one,
            one,
        ]
        .map(f32::from_bits),
    );
    assert!(nan[..4].iter().all(|x| x.is_nan()), "{nan:?}");
}

/// The weights of eight 1x1 convolutions of a pixel that is 1, stored as bfloat16.
fn pointwise_of(client: &Client, weight: &[f32; 8]) -> [f32; 8] {
    let data = upload_as(client, &[1.0, 0.0], Stored::Bf16);
    let x = Columns {
        data,
        row: 2,
        first: 0,
    };
    let weight: Vec<f32> = weight.iter().flat_map(|w| [*w, 0.0]).collect();
    let (y, _) = pointwise::forward(&x, 1, 2, None, &upload(client, &weight));
    download(&y).try_into().unwrap()
}

#[test]
fn a_cast_rounds_and_its_inverse_changes_nothing() {
    let client = client();
    // Whole vectors, pairs, and a last word of one value.
    for len in [4096, 1030, 1031] {
        let given = noise(len, 1);
        let narrow = cast(&upload(&client, &given), Stored::Bf16);
        let found = download(&narrow);
        assert_eq!(found, rounded(&given, Stored::Bf16));
        assert_eq!(download(&cast(&narrow, Stored::F32)), found);
    }
}

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

/// A branch's output of `channels` channels, and its norm.
fn branch(
    client: &Client,
    len: usize,
    channels: usize,
    seed: u64,
    stored: Stored,
) -> (Buffer, Norm) {
    let y = map(client, len, seed, stored);
    let norm = norm_of(&download(&y), channels);
    (y, norm)
}

#[test]
fn the_end_of_a_unit_that_passes_channels_on() {
    let client = client();
    let pixels = 97;
    // Halves, and splits that are none: their words have channels of one side, whose places in the shuffle are any.
    for (left, right, residual) in [
        (24, 24, false),
        (58, 58, true),
        (12, 36, true),
        (6, 8, false),
    ] {
        let row = left + right;
        let runs = BOTH.map(|stored| {
            let data = map(&client, pixels * row, 1, stored);
            let [x, input] = [0, left].map(|first| Columns {
                data: data.clone(),
                row,
                first,
            });
            let (y, norm) = branch(&client, pixels * right, right, 2, stored);
            let rows = upload(&client, &norm.rows());
            let passed = Side::Passed {
                x: &x,
                channels: left,
            };
            let transformed = Side::Transformed {
                y: &y,
                norm: &rows,
                channels: right,
                residual: residual.then_some(&input),
            };
            let out = join(&passed, &transformed, pixels);

            let dout = map(&client, pixels * row, 3, stored);
            let dx = upload_as(&client, &vec![9.0; pixels * row], stored);
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
            let (g, sums) = passed_and_branch(&dout, pixels, &passed, &of);
            assert_sums(&g, &sums, &y, &norm);
            [out, dx, g]
        });
        for (i, what) in ["out", "dx", "g"].iter().enumerate() {
            assert_rounded(what, runs.each_ref().map(|run| &run[i]));
        }
    }
}

#[test]
fn the_end_of_a_unit_with_two_branches() {
    let client = client();
    let pixels = 97;
    for (left, right) in [(24, 24), (58, 58), (6, 10)] {
        let runs = BOTH.map(|stored| {
            let sides = [(left, 1), (right, 2)];
            let sides = sides
                .map(|(channels, seed)| branch(&client, pixels * channels, channels, seed, stored));
            let rows = sides
                .each_ref()
                .map(|(_, norm)| upload(&client, &norm.rows()));
            let side = |i: usize, channels| Side::Transformed {
                y: &sides[i].0,
                norm: &rows[i],
                channels,
                residual: None,
            };
            let out = join(&side(0, left), &side(1, right), pixels);
            let dout = map(&client, pixels * (left + right), 3, stored);
            let of = |i: usize, columns| Branch {
                y: &sides[i].0,
                norm: &rows[i],
                columns,
            };
            let made = branches(&dout, pixels, &[of(0, left), of(1, right)], false);
            for ((g, sums), (y, norm)) in made.iter().zip(&sides) {
                assert_sums(g, sums, y, norm);
            }
            let [(g_left, _), (g_right, _)] = made;
            [out, g_left, g_right]
        });
        for (i, what) in ["out", "g of the left", "g of the right"]
            .iter()
            .enumerate()
        {
            assert_rounded(what, runs.each_ref().map(|run| &run[i]));
        }
    }
}

#[test]
fn the_pooling_and_its_backward() {
    let client = client();
    let (shape, channels) = ([3, 7, 9], 24);
    let len = 3 * 7 * 9 * channels;
    let runs = BOTH.map(|stored| {
        let (y, norm) = branch(&client, len, channels, 1, stored);
        let rows = upload(&client, &norm.rows());
        let (out, places) = max_pool(&y, &rows, shape, 1);
        let dout = map(&client, out.len, 2, stored);
        let pool = Behind::Pool {
            places: &places,
            padding: 1,
        };
        let (g, sums) = relu_gradient(&dout, &pool, shape, &y, &rows);
        assert_sums(&g, &sums, &y, &norm);
        [out, g, places]
    });
    assert_rounded("out", runs.each_ref().map(|run| &run[0]));
    assert_rounded("g", runs.each_ref().map(|run| &run[1]));
    assert_eq!(bits([&runs[0][2]]), bits([&runs[1][2]]), "places");
}

#[test]
fn the_stem() {
    let client = client();
    let (at, outputs) = (
        |stored| Stem {
            images: 3,
            channels: 3,
            height: 9,
            width: 7,
            stride: 1,
            pool: None,
            stored,
        },
        24,
    );
    let images = upload(&client, &noise(3 * 3 * 9 * 7, 1));
    let (conv, running) = conv_norm(&upload(&client, &noise(outputs * 27, 2)), outputs);
    let made = BOTH.map(|stored| stem::forward(&images, &at(stored), &conv, &running, CONFIG));
    let [wide, narrow] = made.each_ref().map(|(_, _, saved)| &saved.y);
    assert_rounded("y", [wide, narrow]);
    assert_moved(&running, &made[1].1[0], &widened(&download(narrow)));

    // From here on the convolution's output is the rounded one for both.
    let norm = norm_of(&download(narrow), outputs);
    let rows = upload(&client, &norm.rows());
    let runs = BOTH.map(|stored| {
        let y = upload_as(&client, &download(narrow), stored);
        let saved = stem::Saved {
            y,
            norm: rows.clone(),
            places: None,
        };
        let dout = map(&client, 3 * 9 * 7 * outputs, 3, stored);
        let (gradients, of_images) =
            stem_gradient::backward(&images, &at(stored), Some(&conv.weight), &saved, &dout);
        [
            gradients.weight,
            gradients.gamma,
            gradients.beta,
            of_images.unwrap(),
        ]
    });
    let [wide, narrow] = runs.each_ref().map(|run| bits(run.each_ref()));
    assert_eq!(wide, narrow);
}

#[test]
fn the_head() {
    let client = client();
    let ([images, pixels], [inputs, outputs]) = ([5, 7], [24, 40]);
    let (conv, running) = conv_norm(&upload(&client, &noise(outputs * inputs, 2)), outputs);
    let runs = BOTH.map(|stored| {
        let data = map(&client, images * pixels * inputs, 1, stored);
        let x = Columns {
            data,
            row: inputs,
            first: 0,
        };
        let (out, moved, saved) = head::forward(&x, [images, pixels], &conv, &running, CONFIG);
        assert_eq!(out.stored, Stored::F32);
        assert_moved(&running, &moved[0], &widened(&download(&saved.y)));
        let expected = norm_relu_mean(&saved, [images, pixels, outputs]);
        assert_close("out", &download(&out), &expected);

        let y = upload_as(
            &client,
            &rounded(&noise(images * pixels * outputs, 4), Stored::Bf16),
            stored,
        );
        let norm = norm_of(&download(&y), outputs);
        let saved = head::Saved {
            y,
            norm: upload(&client, &norm.rows()),
        };
        let dout = upload(&client, &noise(images * outputs, 3));
        let (g, sums) = relu_gradient(
            &dout,
            &Behind::Mean,
            [images, pixels, 1],
            &saved.y,
            &saved.norm,
        );
        assert_sums(&g, &sums, &saved.y, &norm);
        let (dx, _) = head::backward(&x, [images, pixels], &conv.weight, &saved, &dout);
        [g, dx]
    });
    assert_rounded("g", runs.each_ref().map(|run| &run[0]));
    assert_eq!(runs[1][1].stored, Stored::Bf16);
    assert_eq!(runs[1][1].len, images * pixels * inputs);
}

/// The mean over each image of relu(norm(y)), by the norm's rows.
fn norm_relu_mean(saved: &head::Saved, [images, pixels, channels]: [usize; 3]) -> Vec<f64> {
    let (y, rows) = (
        widened(&download(&saved.y)),
        widened(&download(&saved.norm)),
    );
    let mut out = vec![0.0; images * channels];
    for (i, y) in y.iter().enumerate() {
        let (image, c) = (i / channels / pixels, i % channels);
        let z = (y - rows[c]) * rows[channels + c] + rows[2 * channels + c];
        out[image * channels + c] += z.max(0.0) / pixels as f64;
    }
    out
}
