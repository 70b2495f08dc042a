//! What a run writes as it trains: `metrics.jsonl`, and the same numbers as CSV and for TensorBoard.

mod csv;
pub mod line;
pub mod log;
pub mod tensorboard;
