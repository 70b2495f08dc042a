//! Batches that worker threads prepare ahead, returned in order.
//!
//! Worker `w` of `W` makes batches `w`, `w + W`, `w + 2 W`, ... and puts each into its own bounded queue;
//! the consumer takes from the queues in turn. So restoring the order needs no buffer, and no worker runs
//! further ahead than its queue is long. A batch is a function of its number alone ([`crate::random`]), so
//! the result depends neither on the number of workers nor on their speed. Without workers, each batch is
//! made in the calling thread when it is requested.
//!
//! Dropping an iterator early (an interrupt, an error) stops its workers and waits for them.

use std::any::Any;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::{Batch, DataError};

/// A function that makes the batch with a given number.
pub(crate) type Make = Arc<dyn Fn(usize) -> Result<Batch, DataError> + Send + Sync>;

/// Finished batches in a worker's queue, besides the one that the worker is about to send.
const QUEUE: usize = 1;

/// Iterator over batches in the order of their numbers; see [`crate::Loader::epoch`].
pub struct Batches {
    make: Make,
    numbers: Range<usize>,
    /// The workers, beginning with the one that has the next batch.
    workers: Vec<Worker>,
}

struct Worker {
    queue: Receiver<Result<Batch, DataError>>,
    thread: io::Result<JoinHandle<()>>,
}

impl Batches {
    /// The batches with the given numbers, made by `workers` threads.
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
                Err(_) => Err(self.workers.swap_remove(0).failure()),
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
            // Without its receiver, the queue refuses the next batch, which ends the worker.
            drop(queue);
            if let Ok(thread) = thread {
                // The iterator is dropped, so the panic message has no reader.
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

    /// The reason why the worker's queue is closed.
    fn failure(self) -> DataError {
        let cause = match self.thread.map(JoinHandle::join) {
            Err(error) => format!("it cannot be started: {error}"),
            Ok(Err(panic)) => words(panic.as_ref()).into(),
            Ok(Ok(())) => "it ended early".into(),
        };
        DataError::Worker { cause }
    }
}

/// Makes batches until the last one, an error, or a closed queue.
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

/// The message of a panic.
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

    /// A batch of one pixel, whose value is the batch's number.
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
    fn a_panic_or_an_error_is_the_last_item_at_its_place() {
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
    fn workers_do_not_run_far_ahead_and_stop_when_the_iterator_is_dropped() {
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
        // The batch taken, and for each worker the batches in its queue and in progress, refilled once.
        let at_most = 1 + 2 * (QUEUE + 2);
        assert!(made.load(Ordering::SeqCst) <= at_most);
        // The closure and the threads have dropped the counter.
        assert_eq!(Arc::strong_count(&made), 1);
    }
}
