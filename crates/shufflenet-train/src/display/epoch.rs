//! An epoch, for the progress bar and the dashboard.

/// An epoch that begins or continues.
#[derive(Clone, Copy, Default)]
pub struct Epoch {
    /// Number of the epoch, from 1.
    pub number: usize,
    /// Total number of epochs.
    pub of: usize,
    /// Images in the epoch.
    pub images: usize,
    /// Steps in the epoch.
    pub steps: usize,
    /// Steps already taken.
    pub done: usize,
}
