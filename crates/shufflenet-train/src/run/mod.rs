//! A training run: opening it, the loop, its end; resuming; what is tried before one.
//!
//! [`start::train`] opens an experiment ([`context`]) and its folder ([`folder`]), and hands both to the training loop
//! (`training_loop.rs`), which takes steps (`step.rs`), writes metrics and checkpoints through the journal (`journal.rs`)
//! and closes with `conclusion.rs`. [`seeds`] has several runs that differ in their seed alone.

mod conclusion;
pub mod context;
pub mod dry_run;
mod evaluate;
pub mod folder;
pub mod image_list;
pub mod journal;
pub mod lr_find;
pub(crate) mod pace;
pub mod preflight;
mod progress;
mod ranks;
mod resume;
pub mod seeds;
pub mod start;
mod step;
mod training_loop;

pub use training_loop::Outcome;
