//! The gradient of the cross-entropy against soft targets.
//!
//! With the factors `f` of an image's log-probabilities in the loss and its logits `z`:
//!
//! ```text
//! d_c = f_c - sum(f) exp(z_c - max(z)) / sum(exp(z - max(z)))
//! ```
//!
//! A workgroup computes an image. Each thread takes every 64th class, and the threads are combined in order.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::traffic::Launch;
use crate::vector;

/// Threads of a workgroup.
const THREADS: usize = 64;

#[cube(launch_unchecked)]
fn cross_entropy_gradient(
    logits: &[f32],
    factors: &[f32],
    out: &mut [f32],
    images: usize,
    classes: usize,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * THREADS));
    let thread = UNIT_POS as usize;
    let image = CUBE_POS;
    let start = image * classes;
    let own = (classes + THREADS - 1 - thread) / THREADS;
    let mut count = 0usize;
    if image < images {
        count = own;
    }
    // Each thread begins with the first class, so that none is without a value.
    let mut most = 0.0f32;
    if image < images {
        most = logits[start];
    }
    for i in 0..count {
        most = most.max(logits[start + i * THREADS + thread]);
    }
    shared[thread] = most;
    sync_cube();
    let mut most = shared[0];
    for other in 1..THREADS {
        most = most.max(shared[other]);
    }
    sync_cube();
    let mut exponentials = 0.0f32;
    let mut sum = 0.0f32;
    for i in 0..count {
        let at = start + i * THREADS + thread;
        exponentials += (logits[at] - most).exp();
        sum += factors[at];
    }
    shared[thread] = exponentials;
    shared[THREADS + thread] = sum;
    sync_cube();
    let mut exponentials = 0.0f32;
    let mut sum = 0.0f32;
    for other in 0..THREADS {
        exponentials += shared[other];
        sum += shared[THREADS + other];
    }
    let factor = sum / exponentials;
    for i in 0..count {
        let at = start + i * THREADS + thread;
        out[at] = factors[at] - factor * (logits[at] - most).exp();
    }
}

/// Computes the gradient, `[images, classes]`, shaped as the logits and the factors are.
///
/// # Panics
/// If the logits and the factors differ in number.
pub fn gradient(logits: &Buffer, factors: &Buffer, classes: usize) -> Buffer {
    assert_eq!(logits.len, factors.len, "logits, factors");
    let client = &logits.client;
    let out = Buffer::empty(client, logits.len);
    let images = logits.len / classes.max(1);
    let launch = Launch::of("loss's gradient")
        .reads_all([logits, factors])
        .writes_all([&out]);
    launch.run(|| {
        // SAFETY: the image is compared with their number, a thread's classes are below their number, and there are as many
        // factors as logits.
        #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
        unsafe {
            cross_entropy_gradient::launch_unchecked(
                client,
                vector::workgroups(images * THREADS, THREADS as u32),
                CubeDim::new_1d(THREADS as u32),
                logits.arg(1),
                factors.arg(1),
                out.arg(1),
                images,
                classes,
            );
        }
    });
    out
}
