//! What a progress display is told of an epoch.

/// An epoch that begins, or goes on.
#[derive(Clone, Copy, Default)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// Epochs in all.
    pub of: usize,
    /// Its images.
    pub images: usize,
    /// Its steps.
    pub steps: usize,
    /// The steps behind us.
    pub done: usize,
}
