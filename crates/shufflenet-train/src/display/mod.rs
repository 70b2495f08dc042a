//! The display of a run: lines, a progress bar, the dashboard, plots.

pub mod console;
pub mod dashboard;
pub mod epoch;
pub(crate) mod html;
pub mod plot;
pub(crate) mod svg;
pub mod words;
