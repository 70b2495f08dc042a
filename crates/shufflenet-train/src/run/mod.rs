//! A training run: its start, the training loop, its end, and resuming it. Also the dry run and the search for a rate.
//!
//! [`start::train`] opens an experiment ([`context`]) and its folder ([`folder`]), and passes both to the training loop
//! (`training_loop.rs`). The loop takes steps (`step.rs`), writes metrics and checkpoints through the journal
//! (`journal.rs`) and ends with `conclusion.rs`. [`seeds`] trains several runs that differ only in their seed.

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
