//! Test of the number of kernels that the parts of a network launch. Each launch takes time on the host, even if its
//! kernel is short.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use cubecl::logging::{LaunchObservation, LaunchObserver};
use shufflenet_gpu::pointwise::Columns;
use shufflenet_gpu::stem::{self, Stem};
use shufflenet_gpu::stored::Stored;
use shufflenet_gpu::{head, stem_gradient};

use crate::host::{CONFIG, client, conv_norm, noise, upload};
use crate::unit::{Case, INPUT, basic, downsample};

/// Counts the launches of one thread, because other tests run in the same process.
struct Count {
    thread: ThreadId,
    launches: AtomicUsize,
}

impl LaunchObserver for Count {
    fn launched(&self, _kernel: &'static str) {
        if thread::current().id() == self.thread {
            self.launches.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs `work` and counts its launches. The process has one observer, so only one test calls this function.
fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let count = Arc::new(Count {
        thread: thread::current().id(),
        launches: AtomicUsize::new(0),
    });
    let observation = LaunchObservation::new(count.clone());
    let value = work();
    drop(observation);
    (value, count.launches.load(Ordering::Relaxed))
}

/// Launches of a unit's forward, of its backward, and of its inference.
fn of_unit(case: Case) -> [usize; 3] {
    let client = client();
    let (unit, x, dout) = case.upload(&client);
    let running = case.running(&client);
    let (made, forward) = counted(|| unit.forward(&x, INPUT, &running, CONFIG));
    let (_, backward) = counted(|| unit.backward(&x, INPUT, &made.saved, &dout));
    let norms = case.norms(&client);
    let (_, inference) = counted(|| unit.infer(&x, INPUT, &norms));
    [forward, backward, inference]
}

fn of_head() -> [usize; 2] {
    let client = client();
    let x = Columns {
        data: upload(&client, &noise(5 * 7 * 13, 1)),
        row: 13,
        first: 6,
    };
    let (conv, running) = conv_norm(&upload(&client, &noise(5 * 7, 2)), 5);
    let dout = upload(&client, &noise(5 * 5, 3));
    let ((_, _, saved), forward) = counted(|| head::forward(&x, [5, 7], &conv, &running, CONFIG));
    let (_, backward) = counted(|| head::backward(&x, [5, 7], &conv.weight, &saved, &dout));
    [forward, backward]
}

fn of_stem() -> [usize; 2] {
    let at = Stem {
        images: 3,
        channels: 3,
        height: 13,
        width: 11,
        stride: 2,
        pool: Some(1),
        stored: Stored::F32,
    };
    let client = client();
    let images = upload(&client, &noise(3 * 3 * 13 * 11, 1));
    let (conv, running) = conv_norm(&upload(&client, &noise(24 * 27, 2)), 24);
    let dout = upload(
        &client,
        &noise(at.output().iter().product::<usize>() * 24, 3),
    );
    let ((_, _, saved), forward) = counted(|| stem::forward(&images, &at, &conv, &running, CONFIG));
    let (_, backward) = counted(|| stem_gradient::backward(&images, &at, None, &saved, &dout));
    [forward, backward]
}

#[test]
fn each_part_launches_few_kernels() {
    for residual in [false, true] {
        assert_eq!(of_unit(basic(residual)), [7, 8, 2], "a stride-1 unit");
    }
    assert_eq!(of_unit(downsample(false)), [11, 12, 3], "a stride-2 unit");
    assert_eq!(of_head(), [3, 4], "a head");
    assert_eq!(of_stem(), [3, 4], "a stem");
}
