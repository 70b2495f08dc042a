//! The terminal under the dashboard: taken, and given back.
//!
//! Burn puts it into raw mode, where Ctrl-C is a key that nobody listens to. Here it goes on being a signal, so
//! that a run stops in one way. Crossterm takes a terminal that is raw already for its own, and gives it back
//! as it was.

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

/// Refuses a dashboard that nobody would see.
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

/// Burn's renderer; `finished` epochs are behind the run.
pub(super) fn open(
    interrupter: &Interrupter,
    finished: usize,
) -> Result<Box<dyn MetricsRenderer>, TrainError> {
    check()?;
    let taken = enable_raw_mode();
    #[cfg(unix)]
    let taken = taken.and_then(|()| hear_ctrl_c());
    taken.map_err(|error| TrainError::Config {
        origin: "--tui".into(),
        message: format!("the terminal cannot be set up: {error}"),
    })?;
    let renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), Some(finished));
    Ok(Box::new(renderer))
}

/// Signals of keys are on again, but those that would leave the terminal as it is: Ctrl-Z and Ctrl-\.
#[cfg(unix)]
fn hear_ctrl_c() -> std::io::Result<()> {
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

/// Gives the terminal back from wherever the process is about to end.
pub fn leave_screen() {
    if has_screen() {
        let _ = execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}
