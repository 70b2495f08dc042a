//! Batches made ahead by threads of their own, handed out in order.
//!
//! Worker `w` of `W` makes batches `w`, `w + W`, `w + 2 W`, ... and puts each into a bounded queue of
//! its own; the consumer takes from the queues in turn. So the order needs no buffer to restore it, no
//! worker runs further ahead than its queue is long, and since a batch is a function of its number alone
//! ([`crate::random`]), nothing depends on how many workers there are or on which is the fastest. No
//! workers: each batch is made when it is asked for, by who asks.
//!
//! An iterator that is dropped half way (an interrupt, an error) stops its workers and waits for them.

use std::any::Any;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::{Batch, DataError};

/// Makes the batch with a number.
pub(crate) type Make = Arc<dyn Fn(usize) -> Result<Batch, DataError> + Send + Sync>;

/// Finished batches that wait in a worker's queue, besides the one that it holds in its hands.
const QUEUE: usize = 1;

/// Batches in the order of their numbers; see [`crate::Loader::epoch`].
pub struct Batches {
    make: Make,
    numbers: Range<usize>,
    /// The worker that has the next batch is the first.
    workers: Vec<Worker>,
}

struct Worker {
    queue: Receiver<Result<Batch, DataError>>,
    thread: io::Result<JoinHandle<()>>,
}

impl Batches {
    /// The batches with these numbers, made by `workers` threads.
    pub(crate) fn new(make: Make, numbers: Range<usize>, workers: usize) -> Self {
        let count = workers.min(numbers.len());
        let start = |worker| Worker::start(&make, numbers.clone().skip(worker).step_by(count));
        Self {
            workers: (0..count).map(start).collect(),
            numbers,
            make,
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    /// An error is the last item.
    fn next(&mut self) -> Option<Self::Item> {
        let number = self.numbers.next()?;
        let batch = match self.workers.first() {
            None => (self.make)(number),
            Some(worker) => match worker.queue.recv() {
                Ok(batch) => batch,
                Err(_) => Err(self.workers.swap_remove(0).obituary()),
            },
        };
        match batch {
            Ok(_) if !self.workers.is_empty() => self.workers.rotate_left(1),
            Ok(_) => {}
            Err(_) => self.numbers = 0..0,
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.numbers.size_hint()
    }
}

impl ExactSizeIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        for Worker { queue, thread } in self.workers.drain(..) {
            // Without its reader a queue refuses the next batch, which ends the worker.
            drop(queue);
            if let Ok(thread) = thread {
                // What it panicked with is of no interest to whoever has stopped listening.
                let _ = thread.join();
            }
        }
    }
}

impl Worker {
    fn start(make: &Make, numbers: impl Iterator<Item = usize> + Send + 'static) -> Self {
        let (sender, queue) = sync_channel(QUEUE);
        let make = make.clone();
        let work = move || deliver(&make, numbers, &sender);
        let thread = Builder::new().name("batches".into()).spawn(work);
        Self { queue, thread }
    }

    /// Why its queue has nothing more to give.
    fn obituary(self) -> DataError {
        let cause = match self.thread.map(JoinHandle::join) {
            Err(error) => format!("it cannot be started: {error}"),
            Ok(Err(panic)) => words(panic.as_ref()).into(),
            Ok(Ok(())) => "it ended early".into(),
        };
        DataError::Worker { cause }
    }
}

/// Makes batch after batch until the last, an error, or a queue that nobody reads.
fn deliver(
    make: &Make,
    numbers: impl Iterator<Item = usize>,
    queue: &SyncSender<Result<Batch, DataError>>,
) {
    for number in numbers {
        let batch = make(number);
        let is_last = batch.is_err();
        if queue.send(batch).is_err() || is_last {
            return;
        }
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::ImageShape;

    /// A batch of one pixel, its number.
    fn batch(number: usize) -> Batch {
        Batch {
            pixels: vec![number as f32],
            labels: vec![0],
            shape: ImageShape {
                channels: 1,
                height: 1,
                width: 1,
            },
            mix: None,
            share: None,
        }
    }

    fn batches(
        workers: usize,
        make: impl Fn(usize) -> Result<Batch, DataError> + Send + Sync + 'static,
    ) -> Batches {
        Batches::new(Arc::new(make), 3..20, workers)
    }

    #[test]
    fn a_slow_worker_changes_nothing() {
        for workers in [1, 2, 4, 30] {
            let made = batches(workers, |number| {
                let pause = (number * 7 % 5) as u64;
                std::thread::sleep(std::time::Duration::from_millis(pause));
                Ok(batch(number))
            });
            assert_eq!(made.len(), 17);
            let numbers: Vec<_> = made.map(|made| made.unwrap().pixels[0]).collect();
            assert_eq!(numbers, (3..20).map(|n| n as f32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_or_an_error_arrives_in_its_place_and_ends_the_epoch() {
        for workers in [0, 1, 3] {
            let refuse = |number| match number {
                9 => Err(DataError::value("record 9", "torn", "whole")),
                _ => Ok(batch(number)),
            };
            let mut made = batches(workers, refuse);
            assert_eq!(made.by_ref().take_while(Result::is_ok).count(), 6);
            assert!(made.next().is_none());
        }
        for workers in [1, 3] {
            let mut made = batches(workers, |number| {
                assert_ne!(number, 9, "nine is out of the question");
                Ok(batch(number))
            });
            assert_eq!(made.by_ref().take(6).filter(Result::is_ok).count(), 6);
            let line = made.next().unwrap().unwrap_err().to_string();
            assert!(line.contains("nine is out of the question"), "{line}");
            assert!(made.next().is_none());
        }
    }

    #[test]
    fn nobody_runs_far_ahead_and_dropping_stops_everybody() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let mut all = Batches::new(
            Arc::new(move |number| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(batch(number))
            }),
            0..usize::MAX,
            2,
        );
        assert!(all.next().is_some());
        drop(all);
        // The batch taken, and for each worker what its queue and its hands hold, once refilled.
        let at_most = 1 + 2 * (QUEUE + 2);
        assert!(made.load(Ordering::SeqCst) <= at_most);
        // Nobody holds the counter any more: the threads are gone.
        assert_eq!(Arc::strong_count(&made), 1);
    }
}
