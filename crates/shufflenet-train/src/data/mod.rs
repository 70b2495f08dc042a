//! The data of an experiment: the records to train on, those that choose the best epoch, and those to test on.

pub mod check;
mod class_images;
pub mod inputs;
pub mod network;
pub mod proposal;
pub mod sources;
pub mod tools;
pub mod trained_on;
