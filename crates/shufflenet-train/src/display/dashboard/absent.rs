//! The dashboard's terminal in a build without the feature `tui`: it refuses the dashboard.

use burn::train::renderer::MetricsRenderer;

use crate::Interrupter;
use crate::error::TrainError;

/// Refuses the dashboard.
///
/// # Errors
/// [`TrainError::Config`], always.
pub fn check() -> Result<(), TrainError> {
    Err(refusal())
}

pub(super) fn open(_: &Interrupter, _: usize) -> Result<Box<dyn MetricsRenderer>, TrainError> {
    Err(refusal())
}

/// Whether a dashboard has the screen: never.
pub fn has_screen() -> bool {
    false
}

/// Restores the terminal. Does nothing, because the dashboard never had it.
pub fn leave_screen() {}

fn refusal() -> TrainError {
    TrainError::Config {
        origin: "--tui".into(),
        message: "the dashboard is not in this build; add --features tui to cargo".into(),
    }
}
