//! Tests of kernels between maps in bfloat16. Each kernel must store the values that the same kernel between float32 maps
//! stores, rounded to bfloat16. (The other tests compare the float32 kernels with float64.)
//!
//! Both kernels read the same values, which are exact in bfloat16. Results that are not maps have the same bits in
//! both. The exception is sums of rounded values, which are compared with float64 here.

mod convolutions;
mod ends;
mod parts;

use cubecl::prelude::Client;
use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::cast::cast;
use shufflenet_gpu::gradient_sums::GradientSums;
use shufflenet_gpu::moments::Moments;
use shufflenet_gpu::pointwise::{self, Columns};
use shufflenet_gpu::stored::Stored;

use crate::host::{
    CONFIG, Norm, arena, assert_moved, assert_within, client, columns, conv_norm, download, noise,
    rounded, upload, upload_as, widened,
};

pub const BOTH: [Stored; 2] = [Stored::F32, Stored::Bf16];

/// A map of noise whose values are exact in bfloat16.
pub fn map(client: &Client, len: usize, seed: u64, stored: Stored) -> Buffer {
    upload_as(client, &rounded(&noise(len, seed), Stored::Bf16), stored)
}

/// Asserts that the second map is the first map rounded.
pub fn assert_rounded(what: &str, [wide, narrow]: [&Buffer; 2]) {
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

/// Asserts that the moments of `channels` channels are those of the stored values.
pub fn assert_moments(y: &Buffer, channels: usize, moments: &Moments) {
    let (conv, before) = conv_norm(&upload(&y.client, &[1.0]), channels);
    let (_, running) = moments.finish(&conv, &before, CONFIG, &arena(&before.mean.client));
    assert_moved(&before, &running, &widened(&download(y)));
}

/// Asserts that the sums of `g`, the gradient of the output of the norm of `y`, are those of the stored values.
pub fn assert_sums(g: &Buffer, sums: &GradientSums, y: &Buffer, norm: &Norm) {
    let rows = upload(&y.client, &norm.rows());
    let y = widened(&download(y));
    let g = widened(&download(g));
    let made = sums.finish(&rows, y.len() / norm.mean.len(), &arena(&rows.client));
    let [_, gamma, beta] = norm.backward(&y, &g);
    // The error is relative to the sums of absolute values, because much of each sum cancels.
    let absolute: Vec<f64> = g.iter().map(|g| g.abs()).collect();
    let [.., scale] = norm.backward(&y, &absolute);
    assert_within("dgamma", &download(&made.gamma), &gamma, &scale);
    assert_within("dbeta", &download(&made.beta), &beta, &scale);
}

/// A norm of these values, whose parameters are noise.
pub fn norm_of(values: &[f32], channels: usize) -> Norm {
    let [gamma, beta] = [21, 22].map(|seed| noise(channels, seed));
    Norm::of(&widened(values), &gamma, &beta, CONFIG.epsilon)
}

/// The values of `channels` channels of a map, from `x.first` on.
pub fn read(x: &Columns, channels: usize) -> Vec<f32> {
    let all = columns(&download(&x.data), x.row, x.first, channels);
    all.iter().map(|x| *x as f32).collect()
}

/// The buffers that give the gradient of a convolution's output: `g`, `y` and the factors.
pub fn behind(client: &Client, len: usize, channels: usize, stored: Stored) -> [Buffer; 3] {
    let [g, y] = [11, 12].map(|seed| map(client, len, seed, stored));
    [g, y, upload(client, &noise(4 * channels, 13))]
}

/// A branch's output of `channels` channels, and its norm.
pub fn branch(
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

    // A NaN whose payload is in the lower half only would become infinite if it were truncated.
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
    // The lengths end with a whole vector, a pair, and a word of one value.
    for len in [4096, 1030, 1031] {
        let given = noise(len, 1);
        let narrow = cast(&upload(&client, &given), Stored::Bf16);
        let found = download(&narrow);
        assert_eq!(found, rounded(&given, Stored::Bf16));
        assert_eq!(download(&cast(&narrow, Stored::F32)), found);
    }
}
