//! One training step on tensors: network and loss, optimizer, and the state that a step changes.

pub mod classifier;
pub mod distill;
pub mod fine_tune;
pub mod learner;
pub mod pending_logits;
pub mod state;
pub mod teacher;
