//! The binary `shufflenet`: arguments in, exit code out, no logic of its own.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

mod arguments;
mod data;
mod eval;
mod exchange;
mod lr_find;
mod predict;

use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Context;
use arguments::{Arguments, Bench, Command, Devices, Report, Summary, Train, Work};
use clap::Parser;
use shufflenet_train::bench::{self, Workload, resumed::Resumed};
use shufflenet_train::cluster::Cluster;
use shufflenet_train::console::Console;
use shufflenet_train::dry_run::dry_run;
use shufflenet_train::experiment::Experiment;
use shufflenet_train::fit::{Options, Outcome, fit_together};
use shufflenet_train::report::{Reported, report as write_report};
use shufflenet_train::run_folder::Existing;
use shufflenet_train::summarise::summarise;
use shufflenet_train::{Interrupter, TrainError, dashboard, device, devices, machine, settings};

/// Training allocates and frees the same large tensors every step; mimalloc hands the same pages
/// out again, where the system's allocator returns them to the kernel and has them zeroed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc would give memory back after ten milliseconds of rest, a tenth of a step, and have the
/// kernel zero it again at the next.
#[expect(unsafe_code, reason = "an option of a C library")]
fn keep_memory() {
    /// `mi_option_purge_delay` of mimalloc.h, which the binding leaves out.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: mimalloc takes any value of this option; a negative one means never.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}

const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    keep_memory();
    keep_defaults_on_the_cpu();
    fail_at_the_size_limit();
    match run(Arguments::parse()) {
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
        Command::Train(arguments) => train(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Summary(arguments) => summary(&arguments),
        Command::Bench(arguments) => bench(&arguments),
        Command::Data(arguments) => data::run(&arguments),
        Command::LrFind(arguments) => lr_find::run(&arguments),
        Command::Devices(arguments) => devices(&arguments),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Report(arguments) => report(&arguments),
        Command::Import(arguments) => exchange::import(&arguments),
        Command::Export(arguments) => exchange::export(&arguments),
    }
}

fn train(arguments: &Train) -> anyhow::Result<ExitCode> {
    let load = || settings::load(&arguments.config, &arguments.overrides);
    if arguments.print_config {
        return print(&settings::to_toml(&load()?)?);
    }
    if arguments.dry_run {
        let (experiment, threads) = (load()?, use_threads(arguments.threads));
        dry_run(&experiment, &arguments.device, threads, &mut Console::new())?;
        return Ok(ExitCode::SUCCESS);
    }
    let interrupter = Interrupter::new();
    let cluster = Rc::new(Cluster::join(&interrupter)?);
    let experiment = cluster.agree(load())?;
    stop_on_signal(&interrupter, cluster.is_alone())?;
    match train_together(arguments, &experiment, &cluster) {
        Ok(Outcome::Finished) => Ok(ExitCode::SUCCESS),
        Ok(Outcome::Interrupted) => Ok(ExitCode::from(INTERRUPTED)),
        Err(error) => {
            let fails_alone = matches!(error, TrainError::Rank { .. });
            let error = error.into();
            if fails_alone {
                say(&error);
                cluster.abort(failure(&error));
            }
            Err(error)
        }
    }
}

fn train_together(
    arguments: &Train,
    experiment: &Experiment,
    cluster: &Rc<Cluster>,
) -> Result<Outcome, TrainError> {
    cluster.wait_at_most(&experiment.cluster);
    let threads = use_share_of_threads(arguments.threads, cluster.ranks_here());
    let options = Options {
        device: arguments.device.clone(),
        threads,
        out: match &arguments.out {
            Some(out) => out.clone(),
            None => Path::new("runs").join(&experiment.name),
        },
        existing: match (arguments.resume, arguments.force) {
            (true, _) => Existing::Resume,
            (false, true) => Existing::Replace,
            (false, false) => Existing::Refuse,
        },
    };
    let mut console = match (cluster.is_first(), arguments.tui) {
        (false, _) => Console::silent(),
        (true, false) => Console::new(),
        (true, true) => Console::with_dashboard()?,
    };
    fit_together(experiment, &options, cluster, &mut console)
}

/// The first Ctrl-C (or SIGTERM) ends the step under way and saves; the second leaves at once. One of several
/// ranks asks the others instead, however often a launcher and a scheduler tell it.
fn stop_on_signal(interrupter: &Interrupter, is_alone: bool) -> anyhow::Result<()> {
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
                "stopping after this step; once more to leave at once"
            );
        }
    })
    .context("cannot listen for Ctrl-C")
}

fn report(arguments: &Report) -> anyhow::Result<ExitCode> {
    use_threads(arguments.threads);
    let (out, notes) = write_report(&Reported {
        runs: arguments.runs.clone(),
        out: arguments.out.clone(),
        data: arguments.data.clone(),
        split: arguments.split.clone(),
        device: arguments.device.clone(),
    })?;
    for note in notes {
        let _ = writeln!(stderr(), "note: {note}");
    }
    print(&format!("{}\n", out.display()))
}

fn bench(arguments: &Bench) -> anyhow::Result<ExitCode> {
    use_threads(arguments.threads);
    let report = match (&arguments.checkpoint, arguments.work) {
        (Some(checkpoint), Work::Train) => bench::resumed::train(&Resumed {
            checkpoint: checkpoint.clone(),
            data: arguments.data.clone(),
            device: arguments.device.clone(),
            steps: usize::from(arguments.steps),
            warm_up: bench::WARM_UP,
        })?,
        (Some(_), _) => anyhow::bail!("--checkpoint: only bench train times the steps of a run"),
        (None, work) => bench_noise(arguments, work)?,
    };
    match arguments.json {
        true => print(&format!("{}\n", serde_json::to_string(&report)?)),
        false => print(&report.to_string()),
    }
}

fn bench_noise(arguments: &Bench, work: Work) -> anyhow::Result<bench::Report> {
    let (config, overrides) = (
        arguments.network.config.as_deref(),
        arguments.network.overrides(),
    );
    let mut workload = Workload::new(settings::load_model(config, &overrides)?, &arguments.device);
    workload.steps = usize::from(arguments.steps);
    if let Some(size) = arguments.size {
        workload.size = [usize::from(size); 2];
    }
    if let Some(batch) = arguments.batch {
        workload.batch = usize::from(batch);
    }
    Ok(match (work, config) {
        (Work::Train, _) => bench::train(&workload)?,
        (Work::Infer, _) => bench::infer(&workload)?,
        (Work::Data, Some(config)) => bench::data(&settings::load(config, &overrides)?, &workload)?,
        (Work::Data, None) => anyhow::bail!("bench data needs --config FILE, which names the data"),
    })
}

fn summary(arguments: &Summary) -> anyhow::Result<ExitCode> {
    let config = arguments.network.config.as_deref();
    let summary = summarise(config, &arguments.network.overrides(), arguments.input)?;
    print(&match arguments.json {
        true => format!("{}\n", serde_json::to_string(&summary)?),
        false => format!("{summary}\n"),
    })
}

fn devices(arguments: &Devices) -> anyhow::Result<ExitCode> {
    let listing = devices::list(arguments.check);
    print(&match arguments.json {
        true => format!("{}\n", serde_json::to_string(&listing)?),
        false => listing.to_string(),
    })?;
    Ok(match listing.all_right() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

fn use_threads(asked: Option<u16>) -> usize {
    use_share_of_threads(asked, 1)
}

/// The same where so many processes share the machine.
fn use_share_of_threads(asked: Option<u16>, processes: usize) -> usize {
    let share = || (machine::available_threads() / processes).max(1);
    let threads = asked.map_or_else(share, usize::from);
    machine::use_threads(threads);
    threads
}

/// Prints to standard output; a reader that has left is no failure.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
