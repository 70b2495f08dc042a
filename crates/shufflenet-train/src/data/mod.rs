//! From an experiment to batches: which records train, which choose the best epoch, which test.

pub mod inputs;
pub mod sources;
pub mod tools;
