//! Mean and variance of a convolution's output, gathered while it is written.
//!
//! A thread sums the differences of its values from the first one it sees, and their squares. These sums lose no digits
//! where the mean is large, because that first value is near the mean. A workgroup combines its threads, and
//! [`Moments::finish`] the workgroups, by the formula of Chan, Golub and LeVeque (1979) with the first part's mean `p` as
//! the origin:
//!
//! ```text
//! S = sum of n_i (mean_i - p)      Q = sum of M2_i + n_i (mean_i - p)^2
//! mean = p + S / n                 M2 = Q - S^2 / n
//! ```

use cubecl::prelude::*;

use crate::arena::Arena;
use crate::buffer::Buffer;
use crate::conv_norm::{ConvNorm, NormConfig, Running};
use crate::norm::{BETA, MEAN, ROWS, RSTD, SCALE};
use crate::traffic::Launch;
use crate::vector::{V4, store};

/// Rows of a workgroup's partial result: the number of values, their mean, the sum of squared differences from it.
pub(crate) const PARTS: usize = 3;

/// Values of four channels that a thread has seen: the first, the sum of differences from it, the sum of their
/// squares, and the count.
#[cube]
pub(crate) fn none() -> Array<V4> {
    let mut seen = Array::<V4>::new(4usize);
    #[unroll]
    for i in 0..4 {
        seen[i] = V4::new(0.0);
    }
    seen
}

#[cube]
pub(crate) fn add(seen: &mut Array<V4>, value: V4) {
    if seen[3].extract(0usize) == 0.0 {
        seen[0] = value;
    }
    let difference = value - seen[0];
    seen[1] += difference;
    seen[2] = fma(difference, difference, seen[2]);
    seen[3] += V4::new(1.0);
}

/// Combines what the threads of a workgroup have seen, and writes the workgroup's row of `parts`.
///
/// Thread `(x, y)` of `(threads_x, threads_y)` has seen the channels from `column` on, which depend on `x` alone.
/// `shared` has room for `PARTS` vectors a thread of `threads`. All threads call this together, and `shared` is not in
/// use then.
#[cube]
pub(crate) fn write_parts<N: Size>(
    seen: &Array<V4>,
    shared: &mut Shared<[V4]>,
    parts: &mut [Vector<f32, N>],
    row: usize,
    column: usize,
    valid: usize,
    columns: usize,
    threads_x: usize,
    threads_y: usize,
    #[comptime] threads: usize,
) {
    let thread = UNIT_POS as usize;
    let x = thread % threads_x;
    let y = thread / threads_x;
    let count = seen[3];
    let divisor = select_many(count.equal(&V4::new(0.0)), V4::new(1.0), count);
    let offset = seen[1] / divisor;
    if y < threads_y {
        shared[thread] = count;
        shared[threads + thread] = seen[0] + offset;
        shared[2 * threads + thread] = seen[2] - offset * seen[1];
    }
    sync_cube();
    if y == 0 {
        let origin = shared[threads + x];
        let mut n = V4::new(0.0);
        let mut sum = V4::new(0.0);
        let mut squares = V4::new(0.0);
        for other in 0..threads_y {
            let at = other * threads_x + x;
            let count = shared[at];
            let difference = shared[threads + at] - origin;
            n += count;
            sum = fma(count, difference, sum);
            squares += fma(count * difference, difference, shared[2 * threads + at]);
        }
        // Where no thread has seen a value, so has not thread 0, and all of this is zero.
        let divisor = select_many(n.equal(&V4::new(0.0)), V4::new(1.0), n);
        let start = row * PARTS * columns + column;
        store::<N>(parts, start, valid, n);
        store::<N>(parts, start + columns, valid, origin + sum / divisor);
        store::<N>(
            parts,
            start + 2 * columns,
            valid,
            squares - sum * sum / divisor,
        );
    }
}

/// Channels of a workgroup of [`finish`], and the groups of rows that it adds up side by side.
const CHANNELS: usize = 8;
const GROUPS: usize = 32;

/// Adds up the rows of `parts`; writes the norm, and the running statistics after the batch.
#[cube(launch_unchecked)]
fn finish_moments(
    parts: &[f32],
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    variance: &[f32],
    norm: &mut [f32],
    new_mean: &mut [f32],
    new_variance: &mut [f32],
    rows: usize,
    columns: usize,
    epsilon: f32,
    momentum: f32,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(3 * CHANNELS * GROUPS));
    let thread = UNIT_POS as usize;
    let channel = thread % CHANNELS;
    let group = thread / CHANNELS;
    let column = CUBE_POS_X as usize * CHANNELS + channel;
    let mut origin = 0.0f32;
    let mut n = 0.0f32;
    let mut sum = 0.0f32;
    let mut squares = 0.0f32;
    if column < columns {
        origin = parts[columns + column];
        let each = rows.div_ceil(GROUPS);
        for i in 0..each {
            let row = group * each + i;
            if row < rows {
                let start = row * PARTS * columns + column;
                let count = parts[start];
                let difference = parts[start + columns] - origin;
                n += count;
                sum = fma(count, difference, sum);
                squares += fma(count * difference, difference, parts[start + 2 * columns]);
            }
        }
    }
    shared[thread] = n;
    shared[comptime!(CHANNELS * GROUPS) + thread] = sum;
    shared[comptime!(2 * CHANNELS * GROUPS) + thread] = squares;
    sync_cube();
    if group == 0 && column < columns {
        let mut n = 0.0f32;
        let mut sum = 0.0f32;
        let mut squares = 0.0f32;
        for group in 0..GROUPS {
            let at = group * CHANNELS + channel;
            n += shared[at];
            sum += shared[comptime!(CHANNELS * GROUPS) + at];
            squares += shared[comptime!(2 * CHANNELS * GROUPS) + at];
        }
        let batch_mean = origin + sum / n;
        // Rounding may leave a sum of squares a little below zero. NaN stays NaN by a product: see `vector::relu`.
        let squares = squares - sum * sum / n;
        let squares = squares * select(squares < 0.0, 0.0, 1.0);
        let rstd = 1.0 / (squares / n + epsilon).sqrt();
        norm[MEAN * columns + column] = batch_mean;
        norm[SCALE * columns + column] = gamma[column] * rstd;
        norm[BETA * columns + column] = beta[column];
        norm[RSTD * columns + column] = rstd;
        let kept = 1.0 - momentum;
        new_mean[column] = kept * mean[column] + momentum * batch_mean;
        new_variance[column] = kept * variance[column] + momentum * (squares / (n - 1.0));
    }
}

/// Mean and variance of each channel, gathered by a kernel.
pub struct Moments {
    pub(crate) parts: Buffer,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Moments {
    /// Makes the batch norm of the values that were seen. The `running` statistics move towards the values' mean and
    /// unbiased variance:
    ///
    /// ```text
    /// running' = (1 - momentum) running + momentum batch
    /// ```
    ///
    /// The new running statistics are in `arena`.
    pub fn finish(
        &self,
        conv: &ConvNorm,
        running: &Running,
        config: NormConfig,
        arena: &Arena,
    ) -> (Buffer, Running) {
        let client = &self.parts.client;
        let norm = Buffer::empty(client, ROWS * self.columns);
        let [mean, variance] = [0; 2].map(|_| arena.take(self.columns));
        let launch = Launch::of("moments")
            .reads_all([&self.parts, &conv.gamma, &conv.beta])
            .reads_all([&running.mean, &running.variance])
            .writes_all([&norm, &mean, &variance]);
        launch.run(|| {
            // SAFETY: every index is below the length of its buffer, by the comparisons with `rows` and `columns`.
            #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
            unsafe {
                finish_moments::launch_unchecked(
                    client,
                    CubeCount::Static(self.columns.div_ceil(CHANNELS) as u32, 1, 1),
                    CubeDim::new_1d((CHANNELS * GROUPS) as u32),
                    self.parts.arg(1),
                    conv.gamma.arg(1),
                    conv.beta.arg(1),
                    running.mean.arg(1),
                    running.variance.arg(1),
                    norm.arg(1),
                    mean.arg(1),
                    variance.arg(1),
                    self.rows,
                    self.columns,
                    config.epsilon as f32,
                    config.momentum as f32,
                );
            }
        });
        (norm, Running { mean, variance })
    }
}
