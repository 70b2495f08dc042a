//! `shufflenet train`.

use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use shufflenet_train::cluster::Cluster;
use shufflenet_train::display::console::Console;
use shufflenet_train::experiment::{Experiment, settings};
use shufflenet_train::run::Outcome;
use shufflenet_train::run::dry_run::dry_run;
use shufflenet_train::run::folder::Existing;
use shufflenet_train::run::start::{RunOptions, train_together};
use shufflenet_train::{Interrupter, TrainError};

use crate::arguments::Train;
use crate::process::{INTERRUPTED, print, stop_on_signal, use_share_of_threads};
use crate::{failure, say};

pub fn run(arguments: &Train) -> anyhow::Result<ExitCode> {
    let load = || settings::load(&arguments.config, &arguments.overrides);
    if arguments.print_config {
        return print(&settings::to_toml(&load()?)?);
    }
    if arguments.dry_run {
        let (experiment, compute) = (load()?, &arguments.compute);
        let threads = compute.use_threads();
        dry_run(&experiment, &compute.device, threads, &mut Console::new())?;
        return Ok(ExitCode::SUCCESS);
    }
    let interrupter = Interrupter::new();
    let cluster = Rc::new(Cluster::join(&interrupter)?);
    let experiment = cluster.agree(load())?;
    stop_on_signal(&interrupter, cluster.is_alone())?;
    match open_and_train(arguments, &experiment, &cluster) {
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

fn open_and_train(
    arguments: &Train,
    experiment: &Experiment,
    cluster: &Rc<Cluster>,
) -> Result<Outcome, TrainError> {
    cluster.wait_at_most(&experiment.cluster);
    let threads = use_share_of_threads(arguments.compute.threads, cluster.ranks_here());
    let options = RunOptions {
        device: arguments.compute.device.clone(),
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
        accept_changed_data: arguments.accept_changed_data,
    };
    let mut console = match (cluster.is_first(), arguments.tui) {
        (false, _) => Console::silent(),
        (true, false) => Console::new(),
        (true, true) => Console::with_dashboard()?,
    };
    train_together(experiment, &options, cluster, &mut console)
}
