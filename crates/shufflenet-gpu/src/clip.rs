//! A tensor scaled down to a norm: `x min(1, most / (norm(x) + 1e-6))`.
//!
//! The first launch writes sums of squares, one a workgroup. In the second each workgroup adds these in order, and
//! scales its share of the values.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::traffic::Launch;
use crate::vector;

/// Threads of a workgroup, and the most workgroups that write a sum.
const THREADS: usize = 256;

/// Added to the norm, as PyTorch's `clip_grad_norm_` does.
const EPSILON: f32 = 1e-6;

#[cube(launch_unchecked)]
fn sum_squares(x: &[f32], parts: &mut [f32], len: usize, groups: usize) {
    let mut shared = Shared::<[f32]>::new_slice(THREADS);
    let thread = UNIT_POS as usize;
    let stride = groups * THREADS;
    let start = CUBE_POS * THREADS + thread;
    let mut sum = 0.0f32;
    for i in 0..len.div_ceil(stride) {
        let at = start + i * stride;
        if at < len {
            sum = fma(x[at], x[at], sum);
        }
    }
    shared[thread] = sum;
    sync_cube();
    if thread == 0 {
        let mut sum = 0.0f32;
        for other in 0..THREADS {
            sum += shared[other];
        }
        parts[CUBE_POS] = sum;
    }
}

#[cube(launch_unchecked)]
fn scale_down(
    x: &[f32],
    parts: &[f32],
    out: &mut [f32],
    len: usize,
    groups: usize,
    most: f32,
    epsilon: f32,
) {
    let mut square = 0.0f32;
    let mut group = 0usize;
    while group < groups {
        square += parts[group];
        group += 1;
    }
    // A comparison that keeps NaN.
    let norm = square.sqrt() + epsilon;
    let divisor = select(norm < most, 1.0, norm / most);
    if ABSOLUTE_POS < len {
        out[ABSOLUTE_POS] = x[ABSOLUTE_POS] / divisor;
    }
}

/// Scales `x` down to the norm `most`, if its norm is larger.
pub fn clip(x: &Buffer, most: f64) -> Buffer {
    let client = &x.client;
    let groups = x.len.div_ceil(THREADS).clamp(1, THREADS);
    let [parts, out] = [groups, x.len].map(|len| Buffer::empty(client, len));
    let launch = Launch::of("norm").reads_all([x]).writes_all([&parts]);
    launch.run(|| {
        // SAFETY: a value's number is compared with the length, and there is a part for each workgroup.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            sum_squares::launch_unchecked(
                client,
                CubeCount::Static(groups as u32, 1, 1),
                CubeDim::new_1d(THREADS as u32),
                x.arg(1),
                parts.arg(1),
                x.len,
                groups,
            );
        }
    });
    let launch = Launch::of("clip").reads_all([x, &parts]).writes_all([&out]);
    launch.run(|| {
        // SAFETY: a value's number is compared with the length, and there are as many parts as the first launch wrote.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            scale_down::launch_unchecked(
                client,
                vector::workgroups(x.len, THREADS as u32),
                CubeDim::new_1d(THREADS as u32),
                x.arg(1),
                parts.arg(1),
                out.arg(1),
                x.len,
                groups,
                most as f32,
                EPSILON,
            );
        }
    });
    out
}
