//! What a training recipe is made of: optimizer, schedule, loss, dropout, image sizes, moving average,
//! fine-tuning, distillation.
//!
//! Each part is a section or key of the experiment with its formula. None knows the run that uses it.

pub mod average;
pub mod class_weights;
pub mod distill;
pub mod dropout;
pub mod fine_tune;
pub mod loss;
pub mod optimizer;
pub mod progressive;
pub mod schedule;
