//! The binary `shufflenet`: arguments in, exit code out, no logic of its own.
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

/// mimalloc asks Linux for pages of 2 MB, of which a buffer's end and a small page leave a part unused: a fifth of a training's
/// memory. Pages of 4 KiB were no slower (`docs/performance.md`).
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library has no such call")]
fn use_small_pages() {
    // SAFETY: the call changes how this process's memory is paged, and no value. Where it fails, pages stay as they are.
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
            say(&error);
            ExitCode::from(failure(&error))
        }
    }
}

/// Why the command failed. Ours says all there is to say in its own line; others have a chain of causes.
fn say(error: &anyhow::Error) {
    let line = match error.downcast_ref::<TrainError>() {
        // Said there.
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

/// Burn loads optimizer state onto its default device before moving it to its parameters', and its
/// default is a GPU wherever one is built in, or whatever `BURN_DEVICE` says: a CPU run would start
/// the GPU, or die where there is none. Our own devices are always chosen by `--device`.
#[expect(
    unsafe_code,
    reason = "Burn takes its default device from the environment alone"
)]
fn keep_defaults_on_the_cpu() {
    // SAFETY: called before anything else in `main`: there is no other thread to race with.
    unsafe { std::env::set_var("BURN_DEVICE", device::DEFAULT) };
}

/// A write beyond `ulimit -f` kills the process unless the signal is ignored; then it fails, and is told
/// and cleaned up after like any other.
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
