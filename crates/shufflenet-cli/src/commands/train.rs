//! `shufflenet train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use shufflenet_train::cluster::Cluster;
use shufflenet_train::data::proposal::{self, Proposal, propose};
use shufflenet_train::display::console::Console;
use shufflenet_train::experiment::settings;
use shufflenet_train::run::Outcome;
use shufflenet_train::run::dry_run::dry_run;
use shufflenet_train::run::folder::{Existing, experiment_in};
use shufflenet_train::run::start::{RunOptions, train_together};
use shufflenet_train::{Interrupter, TrainError};

use crate::arguments::Train;
use crate::process::{INTERRUPTED, print, stop_on_signal, use_share_of_threads};
use crate::{failure, say};

pub fn run(arguments: &Train) -> anyhow::Result<ExitCode> {
    if arguments.print_config {
        let Proposal { experiment, lines } = experiment(arguments)?;
        let comments: String = lines.iter().map(|line| format!("# {line}\n")).collect();
        return print(&(comments + &settings::to_toml(&experiment)?));
    }
    if arguments.dry_run {
        let Proposal { experiment, lines } = experiment(arguments)?;
        let compute = &arguments.compute;
        let threads = compute.use_threads();
        let mut console = Console::new();
        lines.iter().for_each(|line| console.line(line));
        dry_run(&experiment, &compute.device, threads, &mut console)?;
        return Ok(ExitCode::SUCCESS);
    }
    let interrupter = Interrupter::new();
    let cluster = Rc::new(Cluster::join(&interrupter)?);
    let proposal = cluster.agree(experiment(arguments))?;
    stop_on_signal(&interrupter, cluster.is_alone())?;
    match open_and_train(arguments, &proposal, &cluster) {
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

/// The experiment of --config, which needs no lines, or that for --data. `--resume` takes the latter from its run.
fn experiment(arguments: &Train) -> Result<Proposal, TrainError> {
    let overrides = &arguments.overrides;
    let written = |experiment| Proposal {
        experiment,
        lines: Vec::new(),
    };
    match (&arguments.config, &arguments.data) {
        (Some(config), _) => settings::load(config, overrides).map(written),
        (None, Some(data)) => {
            let run = out(arguments, &proposal::name(data, overrides));
            let begun = match arguments.resume {
                true => experiment_in(&run)?,
                false => None,
            };
            let Some(mut experiment) = begun else {
                return propose(data, arguments.from.as_deref(), overrides);
            };
            experiment.data.root.clone_from(data);
            let experiment = settings::overridden(&experiment, overrides)?;
            require_there(&experiment.data.root, &run)?;
            Ok(written(experiment))
        }
        // Not reachable: one of them is required.
        (None, None) => settings::load_or_assemble(None, overrides).map(written),
    }
}

/// Refuses data that is not there for the run in the folder `out`, which was begun on it.
fn require_there(data: &Path, out: &Path) -> Result<(), TrainError> {
    if data.exists() {
        return Ok(());
    }
    Err(TrainError::Value {
        key: "--data".into(),
        found: format!("{}, which is not there", data.display()),
        accepted: format!(
            "the data that the run in {} was begun on; where it has another place now, --data PLACE --resume --out {}",
            out.display(),
            out.display()
        ),
    })
}

/// The folder of the run called `name`.
fn out(arguments: &Train, name: &str) -> PathBuf {
    let out = arguments.out.clone();
    out.unwrap_or_else(|| Path::new("runs").join(name))
}

fn open_and_train(
    arguments: &Train,
    proposal: &Proposal,
    cluster: &Rc<Cluster>,
) -> Result<Outcome, TrainError> {
    let Proposal { experiment, lines } = proposal;
    cluster.wait_at_most(&experiment.cluster);
    let threads = use_share_of_threads(arguments.compute.threads, cluster.ranks_here());
    let options = RunOptions {
        device: arguments.compute.device.clone(),
        threads,
        out: out(arguments, &experiment.name),
        existing: match (arguments.resume, arguments.force) {
            (true, _) => Existing::Resume,
            (false, true) => Existing::Replace,
            (false, false) => Existing::Refuse,
        },
        accept_changed_data: arguments.accept_changed_data,
        accept_changed_precision: arguments.accept_changed_precision,
    };
    let mut console = match (cluster.is_first(), arguments.tui) {
        (false, _) => Console::silent(),
        (true, false) => Console::new(),
        (true, true) => Console::with_dashboard()?,
    };
    lines.iter().for_each(|line| console.line(line));
    train_together(experiment, &options, cluster, &mut console)
}
