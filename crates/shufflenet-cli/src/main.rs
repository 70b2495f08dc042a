//! The binary `shufflenet`: it turns arguments into calls of the libraries, and results into exit codes.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

#[cfg(feature = "mimalloc")]
mod allocator;
mod arguments;
mod commands;
mod process;
mod usage;

use std::io::{Write, stderr};
use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;
use commands::{
    bench, completions, data, devices, eval, exchange, lr_find, predict, report, summary, train,
};
use shufflenet_train::TrainError;
use shufflenet_train::device::{self, machine};

/// Switches off pages of 2 MB, which mimalloc requests from Linux. The ends of buffers leave parts of them unused, a
/// fifth of the memory of training. Pages of 4 KiB were not slower (`docs/performance.md`).
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library has no such call")]
fn use_small_pages() {
    // SAFETY: the call changes only the paging of this process's memory. If it fails, pages stay as they are.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

#[cfg(not(target_os = "linux"))]
fn use_small_pages() {}

fn main() -> ExitCode {
    use_small_pages();
    #[cfg(feature = "mimalloc")]
    allocator::keep_memory();
    keep_defaults_on_the_cpu();
    fail_at_the_size_limit();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::answer(&error),
    };
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            print_error(&error);
            ExitCode::from(failure(&error))
        }
    }
}

/// The reason why the command failed. An error of this project is one complete line; other errors have a chain of causes.
fn print_error(error: &anyhow::Error) {
    let line = match error.downcast_ref::<TrainError>() {
        // The other rank reports the error.
        Some(TrainError::Elsewhere { .. }) => return,
        Some(error) => error.to_string(),
        None => format!("{error:#}"),
    };
    let _ = writeln!(stderr(), "error: {line}");
}

/// The exit code of a command that failed.
fn failure(error: &anyhow::Error) -> u8 {
    let usage = error
        .downcast_ref::<TrainError>()
        .is_some_and(TrainError::is_usage);
    if usage { 2 } else { 1 }
}

/// Makes the CPU Burn's default device. Burn loads optimizer state to its default device before it moves the state to the
/// parameters' device. The default is a GPU if one is built in, or the device in `BURN_DEVICE`. So a run on the CPU would
/// start the GPU, or fail without one. This project selects its devices only by `--device`.
#[expect(
    unsafe_code,
    reason = "Burn takes its default device from the environment alone"
)]
fn keep_defaults_on_the_cpu() {
    // SAFETY: `main` calls this before it starts a thread.
    unsafe { std::env::set_var("BURN_DEVICE", device::DEFAULT) };
}

/// Ignores the signal of a write beyond `ulimit -f`, which would kill the process. The write then fails with an error like
/// any other.
#[cfg(unix)]
#[expect(unsafe_code, reason = "the standard library sets no signal's handling")]
fn fail_at_the_size_limit() {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

#[cfg(not(unix))]
fn fail_at_the_size_limit() {}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    machine::check_dispatch()?;
    match arguments.command {
        Command::Train(arguments) => train::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Summary(arguments) => summary::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Data(arguments) => data::run(&arguments),
        Command::LrFind(arguments) => lr_find::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Import(arguments) => exchange::import(&arguments),
        Command::Export(arguments) => exchange::export(&arguments),
        #[cfg(feature = "fetch")]
        Command::Weights(arguments) => commands::weights::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
