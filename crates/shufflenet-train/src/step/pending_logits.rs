//! Logits that stay on their device until the loss is needed.
//!
//! The host enqueues work for a GPU in advance: it uploads a batch while the GPU computes the batch before, and waits
//! only when it reads a value. So the logits of several batches are read together, when metrics are needed or when many
//! logits are pending. The CPU computes at once, so no logits are pending there.

use burn::tensor::Device;

use crate::device;
use crate::error::TrainError;
use crate::evaluation::tally::Tally;
use crate::step::classifier::Scores;

/// Largest number of batches with pending logits.
pub const MOST_PENDING: usize = 32;
/// Largest number of bytes of these batches' pixels, which the host holds until the GPU has computed them.
const MOST_BYTES: usize = 1 << 30;

/// Logits on a device, with the labels of their images.
pub struct PendingLogits {
    scores: Vec<(Scores, Vec<u16>)>,
    bytes: usize,
    is_queued: bool,
}

impl PendingLogits {
    /// No logits yet, for batches that `device` computes.
    pub fn on(device: &Device) -> Self {
        Self {
            scores: Vec::new(),
            bytes: 0,
            is_queued: device::is_queued(device),
        }
    }

    /// Reads every batch's logits at once from now on, because other ranks need the loss.
    pub fn read_at_once(&mut self) {
        self.is_queued = false;
    }

    /// Whether the device has a queue, so that logits may be pending.
    pub fn may_wait(&self) -> bool {
        self.is_queued
    }

    /// Adds the logits of a batch with `bytes` bytes of pixels. Rows of logits beyond the labels are ignored.
    pub fn push(&mut self, scores: Scores, labels: Vec<u16>, bytes: usize) {
        self.scores.push((scores, labels));
        self.bytes += bytes;
    }

    /// Whether the pending logits must be read now.
    pub fn is_due(&self) -> bool {
        !self.is_queued || self.scores.len() >= MOST_PENDING || self.bytes >= MOST_BYTES
    }

    /// Reads all pending logits in order and adds them to `tally`.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn read_into(&mut self, tally: &mut Tally) -> Result<(), TrainError> {
        self.read(&mut |logits, labels| tally.add(logits, labels))
    }

    /// Reads all pending logits in order, and calls `each` with the logits and labels of each batch.
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
