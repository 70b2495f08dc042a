//! From an experiment to batches: which records train, which choose the best epoch, which test.

pub mod check;
mod class_images;
pub mod inputs;
pub mod proposal;
pub mod sources;
pub mod tools;
pub mod trained_on;
