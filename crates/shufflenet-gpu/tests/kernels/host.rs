//! Helpers of the tests: random values, transfers to and from the device, and the reference in float64.

use cubecl::prelude::*;
use cubecl::wgpu::WgpuDevice;
use shufflenet_gpu::arena::Arena;
use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::conv_norm::{ConvNorm, NormConfig, Running};
use shufflenet_gpu::stored::Stored;

/// The network's settings.
pub const CONFIG: NormConfig = NormConfig {
    epsilon: 1e-5,
    momentum: 0.1,
};

pub fn client() -> Client {
    cubecl::Device::Wgpu(WgpuDevice::default()).client()
}

/// Pseudo-random values between -1 and 1. Each `seed` gives the same values in every run.
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    let value = |i: usize| {
        let mut x = (i as u64)
            .wrapping_add(seed << 32)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
        (x >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(value).collect()
}

/// Memory for the results of a test.
pub fn arena(client: &Client) -> Arena {
    Arena::new(client, [1 << 16])
}

pub fn upload(client: &Client, values: &[f32]) -> Buffer {
    upload_as(client, values, Stored::F32)
}

/// A map of these values, rounded to the type `stored`.
pub fn upload_as(client: &Client, values: &[f32], stored: Stored) -> Buffer {
    let bits: Vec<u32> = rounded(values, stored)
        .iter()
        .map(|x| x.to_bits())
        .collect();
    let words: Vec<u32> = match stored {
        Stored::F32 => bits,
        Stored::Bf16 => bits
            .chunks(2)
            .map(|pair| pair[0] >> 16 | pair.get(1).copied().unwrap_or(0))
            .collect(),
    };
    Buffer {
        client: client.clone(),
        handle: client.create_from_slice(u32::as_bytes(&words)),
        len: values.len(),
        stored,
    }
}

pub fn download(buffer: &Buffer) -> Vec<f32> {
    let bytes = buffer.client.read_one(buffer.handle.clone()).unwrap();
    let words = u32::from_bytes(&bytes).iter();
    let bits: Vec<u32> = match buffer.stored {
        Stored::F32 => words.copied().collect(),
        Stored::Bf16 => words
            .flat_map(|word| [word << 16, word >> 16 << 16])
            .collect(),
    };
    let values = bits.into_iter().map(f32::from_bits);
    values.take(buffer.len).collect()
}

/// The values rounded to the type `stored`. Bfloat16 rounds to the nearest, ties to even.
pub fn rounded(values: &[f32], stored: Stored) -> Vec<f32> {
    let round = |x: &f32| match x.is_nan() {
        true => f32::from_bits((x.to_bits() | 0x40_0000) >> 16 << 16),
        false => {
            let bits = x.to_bits();
            let (below, rest) = (bits >> 16 << 16, bits & 0xffff);
            let up = rest > 0x8000 || rest == 0x8000 && bits & 0x1_0000 != 0;
            f32::from_bits(below + u32::from(up) * 0x1_0000)
        }
    };
    match stored {
        Stored::F32 => values.to_vec(),
        Stored::Bf16 => values.iter().map(round).collect(),
    }
}

/// Asserts that the norm of the difference is at most 1e-5 of the norm of `expected`.
pub fn assert_close(what: &str, found: &[f32], expected: &[f64]) {
    assert_within(what, found, expected, expected);
}

/// Asserts that the norm of the difference is at most 1e-5 of the norm of `scale`.
pub fn assert_within(what: &str, found: &[f32], expected: &[f64], scale: &[f64]) {
    assert_to(1e-5, what, found, expected, scale);
}

/// Asserts that the norm of the difference is at most `tolerance` of the norm of `scale`.
pub fn assert_to(tolerance: f64, what: &str, found: &[f32], expected: &[f64], scale: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let difference = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - b).powi(2));
    let error = difference.sum::<f64>().sqrt();
    let norm = scale.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!(
        error <= tolerance * norm,
        "{what}: an error of {error:e}, and a norm of {norm:e}"
    );
}

/// `count` columns from `first` on, of rows of `row` values, in float64.
pub fn columns(values: &[f32], row: usize, first: usize, count: usize) -> Vec<f64> {
    let of_row = |values: &[f32]| {
        values[first..first + count]
            .iter()
            .map(|x| f64::from(*x))
            .collect::<Vec<_>>()
    };
    values.chunks_exact(row).flat_map(of_row).collect()
}

/// `left [rows, inner]` times the transpose of `right [columns, inner]`.
pub fn product(left: &[f64], right: &[f32], inner: usize) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
    let of_row = |a| right.chunks_exact(inner).map(move |b| dot(a, b));
    left.chunks_exact(inner).flat_map(of_row).collect()
}

/// The gradients of `left` and of `right`, from the gradient `g` of [`product`]`(left, right, inner)`.
pub fn product_backward(g: &[f64], left: &[f64], right: &[f32], inner: usize) -> [Vec<f64>; 2] {
    let columns = right.len() / inner;
    let mut of_left = vec![0.0; left.len()];
    let mut of_right = vec![0.0; right.len()];
    for (at, g) in g.iter().enumerate() {
        let (row, column) = (at / columns, at % columns);
        for i in 0..inner {
            of_left[row * inner + i] += g * f64::from(right[column * inner + i]);
            of_right[column * inner + i] += g * left[row * inner + i];
        }
    }
    [of_left, of_right]
}

/// Calls `with(output, input, value of the weight)` for each tap of each output of the depthwise convolution that is inside
/// the map.
fn taps(
    [images, height, width]: [usize; 3],
    stride: usize,
    channels: usize,
    mut with: impl FnMut(usize, usize, usize),
) {
    let [rows, places] = [height, width].map(|side| side.div_ceil(stride));
    for at in 0..images * rows * places * channels {
        let (c, j, line) = (
            at % channels,
            at / channels % places,
            at / channels / places,
        );
        let (i, image) = (line % rows, line / rows);
        for tap in 0..9 {
            let (row, place) = (i * stride + tap / 3, j * stride + tap % 3);
            if (1..=height).contains(&row) && (1..=width).contains(&place) {
                let pixel = (image * height + row - 1) * width + place - 1;
                with(at, pixel * channels + c, c * 9 + tap);
            }
        }
    }
}

/// The depthwise convolution of `z`, `[images, height, width, channels]`.
pub fn depthwise(z: &[f64], shape: [usize; 3], stride: usize, weight: &[f32]) -> Vec<f64> {
    let channels = weight.len() / 9;
    let [rows, places] = [shape[1], shape[2]].map(|side| side.div_ceil(stride));
    let mut y = vec![0.0; shape[0] * rows * places * channels];
    taps(shape, stride, channels, |at, from, tap| {
        y[at] += f64::from(weight[tap]) * z[from];
    });
    y
}

/// The gradients of `z` and of the weight, from the gradient of [`depthwise`]`(z, shape, stride, weight)`.
pub fn depthwise_backward(
    g: &[f64],
    z: &[f64],
    shape: [usize; 3],
    stride: usize,
    weight: &[f32],
) -> [Vec<f64>; 2] {
    let [mut dz, mut dw] = [vec![0.0; z.len()], vec![0.0; weight.len()]];
    taps(shape, stride, weight.len() / 9, |at, from, tap| {
        dz[from] += f64::from(weight[tap]) * g[at];
        dw[tap] += z[from] * g[at];
    });
    [dz, dw]
}

/// The channel shuffle of two sides: `out[c] = cat[(c mod 2) channels / 2 + c / 2]` for each pixel.
pub fn shuffled(first: &[f64], second: &[f64], pixels: usize) -> Vec<f64> {
    let [left, right] = [first, second].map(|side| side.len() / pixels);
    let of_pixel = |pixel: usize| {
        let cat = [
            &first[pixel * left..][..left],
            &second[pixel * right..][..right],
        ]
        .concat();
        let half = cat.len() / 2;
        (0..cat.len()).map(move |c| cat[c % 2 * half + c / 2])
    };
    (0..pixels).flat_map(of_pixel).collect()
}

/// Mean and biased variance of each column.
pub fn moments(values: &[f64], columns: usize) -> [Vec<f64>; 2] {
    let n = (values.len() / columns) as f64;
    let mut mean = vec![0.0; columns];
    values
        .iter()
        .enumerate()
        .for_each(|(i, x)| mean[i % columns] += x / n);
    let mut variance = vec![0.0; columns];
    values
        .iter()
        .enumerate()
        .for_each(|(i, x)| variance[i % columns] += (x - mean[i % columns]).powi(2) / n);
    [mean, variance]
}

/// Batch norm of columns by their own statistics.
pub struct Norm {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub epsilon: f64,
}

impl Norm {
    pub fn of(values: &[f64], gamma: &[f32], beta: &[f32], epsilon: f64) -> Self {
        let [mean, variance] = moments(values, gamma.len());
        Self {
            mean,
            variance,
            gamma: gamma.to_vec(),
            beta: beta.to_vec(),
            epsilon,
        }
    }

    pub fn apply(&self, values: &[f64]) -> Vec<f64> {
        let value = |(i, x): (usize, &f64)| {
            let c = i % self.mean.len();
            let rstd = 1.0 / (self.variance[c] + self.epsilon).sqrt();
            (x - self.mean[c]) * rstd * f64::from(self.gamma[c]) + f64::from(self.beta[c])
        };
        values.iter().enumerate().map(value).collect()
    }

    /// The gradients of the values, of gamma and of beta, from the gradient of the norm's output.
    pub fn backward(&self, values: &[f64], g: &[f64]) -> [Vec<f64>; 3] {
        let columns = self.mean.len();
        let n = (values.len() / columns) as f64;
        let rstd = |c: usize| 1.0 / (self.variance[c] + self.epsilon).sqrt();
        let normal = |i: usize| (values[i] - self.mean[i % columns]) * rstd(i % columns);
        let [mut dgamma, mut dbeta] = [0; 2].map(|_| vec![0.0; columns]);
        for (i, g) in g.iter().enumerate() {
            dgamma[i % columns] += g * normal(i);
            dbeta[i % columns] += g;
        }
        let gradient = |(i, g): (usize, &f64)| {
            let c = i % columns;
            let centred = g - dbeta[c] / n - normal(i) * dgamma[c] / n;
            f64::from(self.gamma[c]) * rstd(c) * centred
        };
        let dy = g.iter().enumerate().map(gradient).collect();
        [dy, dgamma, dbeta]
    }

    /// The four rows that kernels read: mean, scale, beta, 1 / standard deviation.
    pub fn rows(&self) -> Vec<f32> {
        let rstd = |c: usize| 1.0 / (self.variance[c] + self.epsilon).sqrt();
        let all = 0..self.mean.len();
        let mean = self.mean.iter().map(|x| *x as f32);
        let scale = all
            .clone()
            .map(|c| (f64::from(self.gamma[c]) * rstd(c)) as f32);
        mean.chain(scale)
            .chain(self.beta.clone())
            .chain(all.map(|c| rstd(c) as f32))
            .collect()
    }
}

pub fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

pub fn relu(values: &[f64]) -> Vec<f64> {
    values.iter().map(|x| x.max(0.0)).collect()
}

/// With this momentum the running statistics become those of the last batch.
pub const AT_ONCE: NormConfig = NormConfig {
    momentum: 1.0,
    ..CONFIG
};

/// A convolution with these parameters, and running statistics of zero.
pub fn at_once([weight, gamma, beta]: [&Buffer; 3]) -> (ConvNorm, Running) {
    let running = zeros(&weight.client, gamma.len);
    let conv = ConvNorm {
        weight: weight.clone(),
        gamma: gamma.clone(),
        beta: beta.clone(),
    };
    (conv, running)
}

/// Running statistics of zero.
pub fn zeros(client: &Client, channels: usize) -> Running {
    let [mean, variance] = [0; 2].map(|_| upload(client, &vec![0.0; channels]));
    Running { mean, variance }
}

/// A convolution with this weight. The parameters and running statistics of its norm are noise.
pub fn conv_norm(weight: &Buffer, outputs: usize) -> (ConvNorm, Running) {
    let [gamma, beta, mean, variance] =
        [5, 6, 7, 8].map(|seed| upload(&weight.client, &noise(outputs, seed)));
    let conv = ConvNorm {
        weight: weight.clone(),
        gamma,
        beta,
    };
    (conv, Running { mean, variance })
}

/// Asserts that a batch of `values` changes the running statistics from `before` to `after`.
pub fn assert_moved(before: &Running, after: &Running, values: &[f64]) {
    let columns = before.mean.len;
    let [mean, unbiased] = statistics(values, columns);
    let moved = |old: &Buffer, batch: &[f64]| -> Vec<f64> {
        let old = download(old);
        let pairs = old.iter().zip(batch);
        pairs
            .map(|(old, new)| 0.9 * f64::from(*old) + 0.1 * new)
            .collect()
    };
    let Running {
        mean: old_mean,
        variance: old_variance,
    } = before;
    assert_close("mean", &download(&after.mean), &moved(old_mean, &mean));
    assert_close(
        "variance",
        &download(&after.variance),
        &moved(old_variance, &unbiased),
    );
}

/// The batch's mean and unbiased variance, which the running statistics follow.
pub fn statistics(values: &[f64], columns: usize) -> [Vec<f64>; 2] {
    let [mean, variance] = moments(values, columns);
    let n = (values.len() / columns) as f64;
    let unbiased = variance.iter().map(|x| x * n / (n - 1.0)).collect();
    [mean, unbiased]
}

/// The bits of each buffer.
pub fn bits<const N: usize>(buffers: [&Buffer; N]) -> [Vec<u32>; N] {
    buffers.map(|buffer| download(buffer).iter().map(|x| x.to_bits()).collect())
}
