//! How many bytes the kernels read and write, by the shapes that they are launched for.
//!
//! The time of these kernels is that of their memory traffic, so the number of bytes bounds the speed of a step as the
//! number of launches does. A value counts once for each kernel that reads or writes it. (A launch that computes both
//! gradients of a 1x1 convolution counts as two kernels here.) What workgroups read again is expected in the caches:
//! weights and norms, the neighbours of a depthwise convolution's pixels, and the pixels of a product whose columns are
//! several workgroups'. The latter are launched one after another, so they read the same pixels at about the same time.
//!
//! Each launching function says what its kernel reads and writes. That costs a load of two flags while nobody counts.
//! [`observe`] counts the launches of the process. [`rehearse`] counts those of a piece of work that is not done:
//! nothing is launched, and buffers have no memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::buffer::Buffer;
use crate::norm::Reading;

/// What the launches of a kernel moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Launches.
    pub launches: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

impl Moved {
    /// Bytes read and written.
    pub fn bytes(&self) -> u64 {
        self.read + self.written
    }

    fn add(&mut self, other: Self) {
        self.launches += other.launches;
        self.read += other.read;
        self.written += other.written;
    }
}

/// [`Moved`] of each kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic(BTreeMap<&'static str, Moved>);

impl Traffic {
    /// Of all kernels together.
    pub fn total(&self) -> Moved {
        let mut total = Moved::default();
        self.0.values().for_each(|moved| total.add(*moved));
        total
    }

    /// Of each kernel, by its name.
    pub fn by_kernel(&self) -> impl Iterator<Item = (&'static str, Moved)> {
        self.0.iter().map(|(kernel, moved)| (*kernel, *moved))
    }

    /// This and `other` together.
    pub fn with(mut self, other: &Self) -> Self {
        other
            .by_kernel()
            .for_each(|(kernel, moved)| self.add(kernel, moved));
        self
    }

    fn add(&mut self, kernel: &'static str, moved: Moved) {
        self.0.entry(kernel).or_default().add(moved);
    }
}

/// Whether [`OBSERVED`] is added to.
static OBSERVING: AtomicBool = AtomicBool::new(false);

/// Traffic of the process since [`observe`]. With Burn's fusion a thread of Burn's launches.
static OBSERVED: Mutex<Traffic> = Mutex::new(Traffic(BTreeMap::new()));

thread_local! {
    /// Traffic of the work that this thread rehearses.
    static REHEARSED: RefCell<Option<Traffic>> = const { RefCell::new(None) };
}

fn observed() -> MutexGuard<'static, Traffic> {
    OBSERVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the launches of the process while it lives. One at a time.
pub struct Observation(());

/// Begins to count.
pub fn observe() -> Observation {
    *observed() = Traffic::default();
    OBSERVING.store(true, Ordering::Relaxed);
    Observation(())
}

impl Observation {
    /// The traffic since the last call, or the beginning.
    pub fn take(&self) -> Traffic {
        std::mem::take(&mut observed())
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        OBSERVING.store(false, Ordering::Relaxed);
    }
}

/// The traffic of `work`, whose kernels are not launched and whose buffers have no memory.
pub fn rehearse<T>(work: impl FnOnce() -> T) -> (T, Traffic) {
    REHEARSED.set(Some(Traffic::default()));
    let value = work();
    (value, REHEARSED.take().unwrap_or_default())
}

/// Whether this thread only rehearses.
pub(crate) fn is_rehearsed() -> bool {
    REHEARSED.with_borrow(Option::is_some)
}

/// A launch, and what its kernel moves.
pub(crate) struct Launch {
    kernel: &'static str,
    moved: Moved,
}

impl Launch {
    pub fn of(kernel: &'static str) -> Self {
        let moved = Moved {
            launches: 1,
            ..Moved::default()
        };
        Self { kernel, moved }
    }

    /// The launch reads this number of values of `buffer`.
    pub fn reads(mut self, buffer: &Buffer, values: usize) -> Self {
        self.moved.read += bytes(buffer, values);
        self
    }

    /// All values of `buffers` are read.
    pub fn reads_all<const N: usize>(self, buffers: [&Buffer; N]) -> Self {
        let each = buffers.into_iter();
        each.fold(self, |launch, buffer| launch.reads(buffer, buffer.len))
    }

    /// The norm that the input is read by, if it is read by one.
    pub fn reads_by(self, norm: &Buffer, reading: Reading) -> Self {
        match reading {
            Reading::Plain => self,
            Reading::Norm | Reading::NormRelu => self.reads_all([norm]),
        }
    }

    /// The launch writes this number of values to `buffer`.
    pub fn writes(mut self, buffer: &Buffer, values: usize) -> Self {
        self.moved.written += bytes(buffer, values);
        self
    }

    /// All values of `buffers` are written.
    pub fn writes_all<const N: usize>(self, buffers: [&Buffer; N]) -> Self {
        let each = buffers.into_iter();
        each.fold(self, |launch, buffer| launch.writes(buffer, buffer.len))
    }

    /// Launches the kernel, and counts if somebody does.
    pub fn run(self, launch: impl FnOnce()) {
        let rehearsed = REHEARSED.with_borrow_mut(|rehearsed| match rehearsed {
            Some(traffic) => {
                traffic.add(self.kernel, self.moved);
                true
            }
            None => false,
        });
        if rehearsed {
            return;
        }
        if OBSERVING.load(Ordering::Relaxed) {
            observed().add(self.kernel, self.moved);
        }
        launch();
    }
}

fn bytes(buffer: &Buffer, values: usize) -> u64 {
    buffer.stored.bytes(values) as u64
}
