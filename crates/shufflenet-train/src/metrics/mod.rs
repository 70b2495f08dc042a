//! The metrics of a run: `metrics.jsonl`, and the same numbers as CSV and for TensorBoard.

mod csv;
pub mod line;
pub mod log;
pub mod tensorboard;
