//! Sums over ranks, for synchronised batch norm. Ranks are processes that train one network together, each on
//! its share of a batch.
//!
//! A norm's statistics are sums over the batch, and so is everything that its backward needs of other images
//! (`training/norm.rs` computes these sums for the kernels, `plain/batch_norm.rs` for plain operations). With both
//! summed over the ranks, every rank normalises its images as one process with the whole batch would. The caller
//! provides the sum over the ranks: [`summed_by`] sets it on this thread while a closure runs. Every rank must run
//! the same operations in the same order, as a network's forward and backward do.

use std::cell::RefCell;
use std::rc::Rc;

/// Replaces values by their sums over the ranks. Every rank must get the same bits.
pub type Sum = Rc<dyn Fn(&mut [f64])>;

thread_local! {
    static SUM: RefCell<Option<Sum>> = const { RefCell::new(None) };
}

/// Runs `work` on this thread. Batch norms in training take their sums over all ranks with `sum` meanwhile.
pub fn summed_by<R>(sum: Sum, work: impl FnOnce() -> R) -> R {
    /// The previous sum, restored when dropped, so also if `work` panics.
    struct Before(Option<Sum>);
    impl Drop for Before {
        fn drop(&mut self) {
            SUM.with_borrow_mut(|sum| *sum = self.0.take());
        }
    }
    let _before = Before(SUM.replace(Some(sum)));
    work()
}

/// The sum over the ranks that is set on this thread. `None` if this process trains alone, or if its norms do not
/// share statistics.
pub fn sum() -> Option<Sum> {
    SUM.with_borrow(Clone::clone)
}
