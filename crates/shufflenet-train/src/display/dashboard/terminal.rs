//! Prepares the terminal for the dashboard, and restores it.
//!
//! Burn puts the terminal into raw mode, in which Ctrl-C is a key that nothing handles. Here Ctrl-C stays a signal, so
//! that it stops a run as it does without the dashboard. The renderer asks Crossterm for raw mode again, which changes
//! nothing, and at the end Crossterm restores the original mode.

use std::io::{IsTerminal, stdin, stdout};

use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use crossterm::cursor::Show;
use crossterm::event::DisableMouseCapture;
use crossterm::execute;
use crossterm::terminal::{
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, is_raw_mode_enabled,
};

use crate::Interrupter;
use crate::error::TrainError;

/// Refuses a dashboard without a terminal.
///
/// # Errors
/// [`TrainError::Config`].
pub fn check() -> Result<(), TrainError> {
    if stdin().is_terminal() && stdout().is_terminal() {
        Ok(())
    } else {
        Err(TrainError::Config {
            origin: "--tui".into(),
            message: "standard input and output must be a terminal".into(),
        })
    }
}

/// Burn's renderer for a run that has finished `finished` epochs.
pub(super) fn open(
    interrupter: &Interrupter,
    finished: usize,
) -> Result<Box<dyn MetricsRenderer>, TrainError> {
    check()?;
    let taken = enable_raw_mode();
    #[cfg(unix)]
    let taken = taken.and_then(|()| enable_key_signals());
    taken.map_err(|error| TrainError::Config {
        origin: "--tui".into(),
        message: format!("the terminal cannot be set up: {error}"),
    })?;
    let renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), Some(finished));
    Ok(Box::new(renderer))
}

/// Switches the signals of keys on again, except those that would leave the terminal in raw mode: Ctrl-Z and Ctrl-\.
#[cfg(unix)]
fn enable_key_signals() -> std::io::Result<()> {
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
    /// `_POSIX_VDISABLE`: no key.
    const NONE: u8 = if cfg!(target_os = "linux") { 0 } else { 0xff };
    let terminal = stdin();
    let mut modes = tcgetattr(&terminal)?;
    modes.local_modes |= LocalModes::ISIG;
    for key in [SpecialCodeIndex::VSUSP, SpecialCodeIndex::VQUIT] {
        modes.special_codes[key] = NONE;
    }
    tcsetattr(&terminal, OptionalActions::Now, &modes)?;
    Ok(())
}

/// Whether a dashboard has the screen, so that nothing else may be written there.
pub fn has_screen() -> bool {
    is_raw_mode_enabled().unwrap_or(false)
}

/// Restores the terminal, at any place where the process is about to end.
pub fn leave_screen() {
    if has_screen() {
        let _ = execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}
