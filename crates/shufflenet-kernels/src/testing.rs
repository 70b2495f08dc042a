//! What tests of this crate and of those above it compute with.

use std::sync::{Arc, Barrier, Mutex, PoisonError};

/// `count` numbers from -1 to 1 without a pattern, different for each seed.
pub fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| ((i * i * 7919 + seed * 104_729) % 1_009) as f32 / 504.5 - 1.0;
    (0..count).map(number).collect()
}

/// Sums over threads of this process that stand in for ranks.
pub fn sums_over(threads: usize) -> impl Fn(&mut [f64]) + Clone {
    let barrier = Arc::new(Barrier::new(threads));
    let total = Arc::new(Mutex::new(Vec::<f64>::new()));
    move |values: &mut [f64]| {
        let mut sums = lock(&total);
        sums.resize(values.len(), 0.0);
        sums.iter_mut().zip(&*values).for_each(|(sum, x)| *sum += x);
        drop(sums);
        barrier.wait();
        values.copy_from_slice(&lock(&total));
        if barrier.wait().is_leader() {
            lock(&total).clear();
        }
        barrier.wait();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
