//! The host's side of the tests: values, and the reference in float64.

use cubecl::prelude::*;
use cubecl::wgpu::WgpuDevice;
use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::conv_norm::{ConvNorm, NormConfig, Running};

/// As the network has them.
pub const CONFIG: NormConfig = NormConfig {
    epsilon: 1e-5,
    momentum: 0.1,
};

pub fn client() -> Client {
    cubecl::Device::Wgpu(WgpuDevice::default()).client()
}

/// Values between -1 and 1 without a pattern, the same in every run.
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

pub fn upload(client: &Client, values: &[f32]) -> Buffer {
    Buffer {
        client: client.clone(),
        handle: client.create_from_slice(f32::as_bytes(values)),
        len: values.len(),
    }
}

pub fn download(buffer: &Buffer) -> Vec<f32> {
    let bytes = buffer.client.read_one(buffer.handle.clone()).unwrap();
    f32::from_bytes(&bytes)[..buffer.len].to_vec()
}

/// Asserts that the norm of the difference is at most 1e-5 of the norm of `expected`.
pub fn assert_close(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let difference = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - b).powi(2));
    let error = difference.sum::<f64>().sqrt();
    let norm = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!(
        error <= 1e-5 * norm,
        "{what}: {error:e} off where the norm is {norm:e}"
    );
}

/// The columns from `first` on of rows of `row` values, in float64.
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

/// Batch norm of columns, by their own statistics.
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

    /// The gradients of the values, of gamma and of beta, from that of the norm's output.
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

/// With it, running statistics after a batch are the batch's.
pub const AT_ONCE: NormConfig = NormConfig {
    momentum: 1.0,
    ..CONFIG
};

/// A convolution with these parameters, and running statistics that are zero.
pub fn at_once([weight, gamma, beta]: [&Buffer; 3]) -> (ConvNorm, Running) {
    let [mean, variance] = [0; 2].map(|_| upload(&weight.client, &vec![0.0; gamma.len]));
    let conv = ConvNorm {
        weight: weight.clone(),
        gamma: gamma.clone(),
        beta: beta.clone(),
    };
    (conv, Running { mean, variance })
}

/// A convolution with this weight, whose norm has noise for its parameters and running statistics.
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

/// Asserts that the running statistics of `before` have moved to `after` as a batch of `values` moves them.
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

/// The batch's mean and unbiased variance, as they go to the running statistics.
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
