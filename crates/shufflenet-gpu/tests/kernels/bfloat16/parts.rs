//! Tests of pooling, stem and head in bfloat16, forward and backward.

use shufflenet_gpu::max_pool::max_pool;
use shufflenet_gpu::pointwise::Columns;
use shufflenet_gpu::relu_gradient::{Behind, relu_gradient};
use shufflenet_gpu::stem::{self, Stem};
use shufflenet_gpu::stored::Stored;
use shufflenet_gpu::{head, stem_gradient};

use super::{BOTH, assert_rounded, assert_sums, branch, map, norm_of};
use crate::host::{
    CONFIG, assert_close, assert_moved, bits, client, conv_norm, download, noise, rounded, upload,
    upload_as, widened,
};

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

    // From here on both kernels read the rounded output of the convolution.
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

/// The mean of relu(norm(y)) over each image, computed from the norm's rows.
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
