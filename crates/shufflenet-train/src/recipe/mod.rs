//! The parts of a training recipe: optimizer, schedule, loss, dropout, image sizes, moving average, fine-tuning,
//! distillation.
//!
//! Each part is a section or key of the experiment with its formula. No part depends on the run that uses it.

pub mod average;
pub mod class_weights;
pub mod distill;
pub mod dropout;
pub mod fine_tune;
pub mod loss;
pub mod optimizer;
pub mod progressive;
pub mod schedule;
