//! Functions on the process that the commands share: threads, signals, standard output, exit codes.

use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;

use anyhow::Context;
use shufflenet_train::Interrupter;
use shufflenet_train::device::machine;
use shufflenet_train::display::dashboard;

/// Exit code of a run that was asked to stop.
pub const INTERRUPTED: u8 = 130;

/// The first Ctrl-C (or SIGTERM) stops the run after the current step and saves. The second exits at once. One of several
/// ranks only asks the others to stop, even if a launcher and a scheduler both send it signals.
pub fn stop_on_signal(interrupter: &Interrupter, is_alone: bool) -> anyhow::Result<()> {
    let interrupter = interrupter.clone();
    ctrlc::set_handler(move || {
        if !is_alone {
            return interrupter.stop(None);
        }
        if interrupter.should_stop() {
            dashboard::leave_screen();
            std::process::exit(i32::from(INTERRUPTED));
        }
        interrupter.stop(None);
        if !dashboard::has_screen() {
            let _ = writeln!(
                stderr(),
                "stopping after this step; a second signal exits at once"
            );
        }
    })
    .context("cannot listen for Ctrl-C")
}

/// Sets the number of threads of the kernels to `asked`, or else to a share of the machine's threads if `processes`
/// processes share the machine. Returns the number.
pub fn use_share_of_threads(asked: Option<u16>, processes: usize) -> usize {
    let share = || (machine::available_threads() / processes).max(1);
    let threads = asked.map_or_else(share, usize::from);
    machine::use_threads(threads);
    threads
}

/// Prints to standard output. A closed pipe is not an error.
pub fn print(text: &str) -> anyhow::Result<ExitCode> {
    print_unless_closed(text).map(|_| ExitCode::SUCCESS)
}

/// Prints to standard output. Returns false if it is a closed pipe: nobody reads the rest.
pub fn print_unless_closed(text: &str) -> anyhow::Result<bool> {
    match stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}
