//! Sums over the processes that train one network together, each on its share of a batch: what
//! synchronised batch norm asks for.
//!
//! A norm's statistics are sums over the batch, and so is all that its backward needs of other images
//! (`flex/norm.rs` has them of the kernels, `batch_norm.rs` of plain operations): with both summed over the ranks, every rank normalises its images as one process
//! would that had the whole batch. How the sums get from rank to rank is the caller's affair:
//! [`summed_by`] says so for the time of a piece of work, on this thread. Every rank must run the same
//! operations in the same order, which a network's forward and backward do.

use std::cell::RefCell;
use std::rc::Rc;

/// Replaces values by their sums over the ranks, the same bits on each.
pub type Sum = Rc<dyn Fn(&mut [f64])>;

thread_local! {
    static SUM: RefCell<Option<Sum>> = const { RefCell::new(None) };
}

/// Does `work` on this thread, batch norms in training taking their sums over all ranks by `sum`.
pub fn summed_by<R>(sum: Sum, work: impl FnOnce() -> R) -> R {
    /// What was in force before, back also where `work` panics.
    struct Before(Option<Sum>);
    impl Drop for Before {
        fn drop(&mut self) {
            SUM.with_borrow_mut(|sum| *sum = self.0.take());
        }
    }
    let _before = Before(SUM.replace(Some(sum)));
    work()
}

/// How values are summed over the ranks. `None`: this process trains alone, or its norms do.
pub(crate) fn sum() -> Option<Sum> {
    SUM.with_borrow(Clone::clone)
}

/// Sums over threads of this process that stand in for ranks.
#[cfg(test)]
pub(crate) fn sums_over(threads: usize) -> impl Fn(&mut [f64]) + Clone {
    use std::sync::{Arc, Barrier, Mutex};

    let barrier = Arc::new(Barrier::new(threads));
    let total = Arc::new(Mutex::new(Vec::<f64>::new()));
    move |values: &mut [f64]| {
        let mut sums = total.lock().unwrap();
        sums.resize(values.len(), 0.0);
        sums.iter_mut().zip(&*values).for_each(|(sum, x)| *sum += x);
        drop(sums);
        barrier.wait();
        values.copy_from_slice(&total.lock().unwrap());
        if barrier.wait().is_leader() {
            total.lock().unwrap().clear();
        }
        barrier.wait();
    }
}
