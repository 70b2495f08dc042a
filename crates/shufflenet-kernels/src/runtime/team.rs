//! Parallel loops over threads that stay awake between loops.
//!
//! An operation is a sequence of parallel loops of ten to a thousand microseconds, with short serial parts
//! between them. A pool whose idle threads sleep needs tens of microseconds to wake them for each loop, which
//! adds up to a tenth of a training step of the smallest network. Here threads poll for the next loop for a
//! while before they sleep. A thread starts with its own range of the items. The range is the same in every
//! loop over a batch, so the thread's cache may still hold the data. A thread that is done takes items from the
//! ranges of the others.
//!
//! A loop has as many threads as rayon's pool, so `--threads`, which sets the size of that pool, also sets the
//! threads here. The module uses nothing else of rayon. Results come in the order of the items and do not
//! depend on which thread computed them.
//!
//! Every thread of a loop treats subnormal numbers as zero ([`crate::runtime::subnormals`]).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use crate::runtime::subnormals::{flush_this_thread, flushed};

/// Threads of a loop, including the calling one. WebAssembly has one.
pub(crate) fn threads() -> usize {
    match cfg!(target_family = "wasm") {
        true => 1,
        false => rayon::current_num_threads(),
    }
}

/// Calls `work(i, item)` for each item `i`, in parallel, and returns the results in the order of the items.
pub(crate) fn map<I: Send, T: Send>(
    items: impl IntoIterator<Item = I>,
    work: impl Fn(usize, I) -> T + Sync,
) -> Vec<T> {
    let mut items = items.into_iter().enumerate();
    if threads() == 1 {
        return flushed(|| items.map(|(i, item)| work(i, item)).collect());
    }
    let slots: Vec<_> = items
        .by_ref()
        .map(|(_, item)| Mutex::new(Slot::Waiting(item)))
        .collect();
    let run = |i: usize| {
        let mut slot = lock(&slots[i]);
        if let Slot::Waiting(item) = std::mem::replace(&mut *slot, Slot::Taken) {
            *slot = Slot::Done(work(i, item));
        }
    };
    flushed(|| share_out(slots.len(), &run));
    let results = slots.into_iter().map(|slot| {
        let slot = slot.into_inner();
        slot.unwrap_or_else(PoisonError::into_inner)
    });
    let done = |slot| match slot {
        Slot::Done(result) => Some(result),
        Slot::Waiting(_) | Slot::Taken => None,
    };
    results.filter_map(done).collect()
}

enum Slot<I, T> {
    Waiting(I),
    Taken,
    Done(T),
}

/// Calls `item(i)` for each `i` below `items`, in parallel.
fn share_out(items: usize, item: &(dyn Fn(usize) + Sync)) {
    let threads = threads().min(items);
    if threads <= 1 {
        return (0..items).for_each(item);
    }
    let start = |thread: usize| thread * items / threads;
    let next: Vec<_> = (0..threads).map(|i| AtomicUsize::new(start(i))).collect();
    let take_from = |range: usize| {
        loop {
            let i = next[range].fetch_add(1, Ordering::Relaxed);
            if i >= start(range + 1) {
                return;
            }
            item(i);
        }
    };
    let ranges = |thread: usize| (thread..threads).chain(0..thread);
    TEAM.run(threads, &|thread| ranges(thread).for_each(take_from));
}

static TEAM: Team = Team {
    helpers: Mutex::new(0),
    job: Mutex::new(None),
    number: AtomicUsize::new(0),
    at_work: AtomicUsize::new(0),
    panic: Mutex::new(None),
    sleepers: AtomicUsize::new(0),
    sleep: Mutex::new(()),
    wake: Condvar::new(),
};

/// How long a thread polls for the next loop before it sleeps: about the time between two operations.
const AWAKE: Duration = Duration::from_micros(300);

/// Polls between two yields of the processor to other threads.
const LOOKS: usize = 16;

/// The helper threads of the process, and the loop that they work on.
struct Team {
    /// Number of threads started, without the callers. The caller whose loop runs holds the lock.
    helpers: Mutex<usize>,
    /// The loop that helpers may join.
    job: Mutex<Option<Job>>,
    /// Number of the latest job, counted over all jobs.
    number: AtomicUsize,
    /// Helpers that have joined the job.
    at_work: AtomicUsize,
    /// Payload of the first helper that panicked.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// A loop: each of `threads` threads calls `work` with its index.
#[derive(Clone, Copy)]
struct Job {
    work: &'static (dyn Fn(usize) + Sync),
    threads: usize,
}

impl Team {
    /// Calls `work(0)` on this thread and `work(i)` on the helpers that are free, for `i` below `threads`. Every call
    /// must be able to do all the work that is left, and a helper may call `work(i)` again when nothing is left.
    fn run(&'static self, threads: usize, work: &(dyn Fn(usize) + Sync)) {
        // A loop within a loop has no helpers. A loop that runs while another thread's loop runs has none either.
        let mut helpers = match self.helpers.try_lock() {
            Ok(helpers) => helpers,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return work(0),
        };
        while *helpers + 1 < threads {
            let place = *helpers + 1;
            let helper = thread::Builder::new().name(format!("shufflenet {place}"));
            if helper.spawn(move || self.help(place)).is_err() {
                break;
            }
            *helpers = place;
        }
        // SAFETY: only the lifetime of the reference changes. No helper has it after `joined` is dropped,
        // which happens before this function returns or unwinds.
        let work: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(work) };
        *lock(&self.job) = Some(Job { work, threads });
        // A loop whose first thread panicked has left its helper's panic.
        *lock(&self.panic) = None;
        let joined = Joined(self);
        // Sequentially consistent, like the sleeper's two accesses: either the sleeper sees the new number, or
        // this thread sees the sleeper.
        self.number.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _sleep = lock(&self.sleep);
            self.wake.notify_all();
        }
        work(0);
        drop(joined);
        if let Some(panic) = lock(&self.panic).take() {
            resume_unwind(panic);
        }
    }

    /// Runs the helper with index `place`: waits for jobs and does them, forever.
    fn help(&self, place: usize) {
        flush_this_thread();
        let mut seen = 0;
        loop {
            seen = self.next(seen);
            let job = lock(&self.job);
            let Some(Job { work, .. }) = job.filter(|job| place < job.threads) else {
                continue;
            };
            self.at_work.fetch_add(1, Ordering::Relaxed);
            drop(job);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(place))) {
                lock(&self.panic).get_or_insert(panic);
            }
            self.at_work.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for the job after job `seen` and returns its number.
    fn next(&self, seen: usize) -> usize {
        let since = Instant::now();
        while since.elapsed() < AWAKE {
            for _ in 0..LOOKS {
                let number = self.number.load(Ordering::Acquire);
                if number != seen {
                    return number;
                }
                std::hint::spin_loop();
            }
            thread::yield_now();
        }
        let mut sleep = lock(&self.sleep);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.number.load(Ordering::SeqCst) == seen {
            sleep = self
                .wake
                .wait(sleep)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        self.number.load(Ordering::SeqCst)
    }
}

/// Lets helpers join the job until dropped; the drop waits for the helpers that joined.
struct Joined<'a>(&'a Team);

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        *lock(&self.0.job) = None;
        loop {
            for _ in 0..LOOKS {
                if self.0.at_work.load(Ordering::Acquire) == 0 {
                    return;
                }
                std::hint::spin_loop();
            }
            thread::yield_now();
        }
    }
}

/// Locks a mutex, poisoned or not: the team passes panics on to the caller itself, and the value stays valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hint::black_box;

    use super::*;

    fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(work)
    }

    #[test]
    fn every_item_is_worked_on_once_and_results_are_in_order() {
        for threads in [1, 2, 5] {
            with_threads(threads, || {
                for items in 0..40 {
                    let mut data = vec![0; 3 * items];
                    let results = map(data.chunks_mut(3), |i, chunk| {
                        chunk.iter_mut().for_each(|x| *x += i);
                        i * i
                    });
                    assert_eq!(results, Vec::from_iter((0..items).map(|i| i * i)));
                    assert!(data.iter().enumerate().all(|(at, x)| *x == at / 3));
                }
            });
        }
    }

    #[test]
    fn every_thread_flushes_subnormals_and_the_caller_does_not_afterwards() {
        let keeps_subnormals = || black_box(f32::MIN_POSITIVE) * black_box(0.5) > 0.0;
        let each_thread = || {
            map(0..64, |_, _| {
                thread::sleep(Duration::from_micros(200));
                (thread::current().id(), keeps_subnormals())
            })
        };
        with_threads(1, || assert!(each_thread().iter().all(|(_, kept)| !kept)));
        with_threads(3, || {
            // A loop has no helpers while another test's loop runs.
            let helped = (0..1_000).any(|_| {
                let kept = each_thread();
                assert!(kept.iter().all(|(_, kept)| !kept));
                assert!(keeps_subnormals());
                kept.iter().any(|(id, _)| *id != thread::current().id())
            });
            assert!(helped);
        });
    }

    #[test]
    fn loops_within_loops_and_beside_each_other_end() {
        let sum = |n: usize| map(0..n, |_, i| i).into_iter().sum::<usize>();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    with_threads(3, || {
                        for _ in 0..200 {
                            assert_eq!(map(0..8, |_, n| sum(n)), [0, 0, 1, 3, 6, 10, 15, 21]);
                        }
                    });
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_next_loop_runs() {
        for bad in [0, 31] {
            let panicked = with_threads(2, || {
                catch_unwind(|| map(0..32, |i, _| assert!(i != bad, "item {i}")))
            });
            assert!(panicked.is_err());
        }
        // Both threads panic, and the second panic is not that of the next loop.
        let both = with_threads(2, || {
            catch_unwind(|| {
                map(0..2, |i, _: usize| {
                    thread::sleep(Duration::from_millis(20));
                    panic!("item {i}");
                })
            })
        });
        assert!(both.is_err());
        let threads = with_threads(2, || {
            map(0..64, |_, _| {
                thread::sleep(Duration::from_millis(1));
                thread::current().id()
            })
        });
        assert_eq!(threads.len(), 64);
        assert!(HashSet::<thread::ThreadId>::from_iter(threads).len() <= 2);
    }
}
