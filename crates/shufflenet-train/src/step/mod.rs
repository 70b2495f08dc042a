//! One step of training on tensors: network and loss, optimizer, and all that a step changes.

pub mod classifier;
pub mod distill;
pub mod fine_tune;
pub mod learner;
pub mod pending_logits;
pub mod state;
pub mod teacher;
