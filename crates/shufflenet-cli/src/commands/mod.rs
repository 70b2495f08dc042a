//! The commands, each in its own file. A command takes its arguments and returns an exit code.

pub mod bench;
pub mod completions;
pub mod data;
pub mod devices;
pub mod eval;
pub mod exchange;
pub mod lr_find;
pub mod predict;
pub mod report;
pub mod summary;
pub mod train;
#[cfg(feature = "fetch")]
pub mod weights;
