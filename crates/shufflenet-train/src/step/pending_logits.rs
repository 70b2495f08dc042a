//! Logits that wait on their device until somebody wants to know the loss.
//!
//! A GPU is given work ahead: the host enqueues a batch while the one before is computed, uploads the next
//! one meanwhile, and waits only where it reads a value. So logits are read together: when metrics are
//! asked for, or when much of them has gathered. The CPU computes what it is told when it is told, so
//! there nothing waits.

use burn::tensor::Device;

use crate::device;
use crate::error::TrainError;
use crate::evaluation::tally::Tally;
use crate::step::classifier::Scores;

/// Batches whose logits may wait.
pub const MOST_PENDING: usize = 32;
/// Bytes of their pixels: what the host may hold for a GPU that has fallen behind.
const MOST_BYTES: usize = 1 << 30;

/// Logits on a device, with the labels of their images.
pub struct PendingLogits {
    scores: Vec<(Scores, Vec<u16>)>,
    bytes: usize,
    is_queued: bool,
}

impl PendingLogits {
    /// None yet, of batches that `device` computes.
    pub fn on(device: &Device) -> Self {
        Self {
            scores: Vec::new(),
            bytes: 0,
            is_queued: device::is_queued(device),
        }
    }

    /// From now on nothing waits: other ranks want to know.
    pub fn read_at_once(&mut self) {
        self.is_queued = false;
    }

    /// Whether the device has a queue, and logits may wait.
    pub fn may_wait(&self) -> bool {
        self.is_queued
    }

    /// Adds those of a batch of so many bytes of pixels. The logits may have more rows than there are
    /// labels: the last ones are nobody's.
    pub fn push(&mut self, scores: Scores, labels: Vec<u16>, bytes: usize) {
        self.scores.push((scores, labels));
        self.bytes += bytes;
    }

    /// Whether it is time to read them.
    pub fn is_due(&self) -> bool {
        !self.is_queued || self.scores.len() >= MOST_PENDING || self.bytes >= MOST_BYTES
    }

    /// Adds them to `tally` in the order in which they came. None are left.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn read_into(&mut self, tally: &mut Tally) -> Result<(), TrainError> {
        self.read(&mut |logits, labels| tally.add(logits, labels))
    }

    /// Hands each batch's logits and labels to `each`, in the order in which they came. None are left.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn read(&mut self, each: &mut dyn FnMut(&[f32], &[u16])) -> Result<(), TrainError> {
        self.bytes = 0;
        for (scores, labels) in self.scores.drain(..) {
            let logits = scores.to_host()?;
            let classes = logits.len() / scores.logits.dims()[0].max(1);
            let own = logits.get(..classes * labels.len());
            each(own.unwrap_or(&logits), &labels);
        }
        Ok(())
    }
}
