//! `shufflenet train`: finds the experiment, its folder and its seeds from the arguments. Then it starts a run or a dry
//! run, or prints the configuration.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use shufflenet_train::cluster::Cluster;
use shufflenet_train::data::proposal::{self, Proposal, check_start, propose};
use shufflenet_train::display::console::Console;
use shufflenet_train::experiment::{Experiment, settings};
use shufflenet_train::run::Outcome;
use shufflenet_train::run::dry_run::dry_run;
use shufflenet_train::run::folder::Existing;
use shufflenet_train::run::seeds::{Seeds, experiment_in, train_seeds};
use shufflenet_train::run::start::{RunOptions, train_together};
use shufflenet_train::{Interrupter, TrainError};

use crate::arguments::Train;
use crate::process::{INTERRUPTED, print, stop_on_signal, use_share_of_threads};
use crate::{failure, print_error};

/// The experiment to train, its folder and its seeds.
struct Asked {
    proposal: Proposal,
    out: PathBuf,
    /// The seeds of several runs. `None`: a single run.
    seeds: Option<Seeds>,
}

pub fn run(arguments: &Train) -> anyhow::Result<ExitCode> {
    if arguments.print_config {
        let Proposal { experiment, lines } = asked(arguments)?.proposal;
        let comments: String = lines.iter().map(|line| format!("# {line}\n")).collect();
        return print(&(comments + &settings::to_toml(&experiment)?));
    }
    if arguments.dry_run {
        let Asked {
            proposal, seeds, ..
        } = asked(arguments)?;
        let Proposal { experiment, lines } = proposal;
        let compute = &arguments.compute;
        let threads = compute.use_threads();
        let mut console = Console::new();
        lines.iter().for_each(|line| console.line(line));
        if let Some(seeds) = seeds {
            let (first, runs) = (seeds.first(), seeds.iter().count());
            console.line(&format!("seed       {first}, 1 of {runs}"));
        }
        dry_run(&experiment, &compute.device, threads, &mut console)?;
        return Ok(ExitCode::SUCCESS);
    }
    let interrupter = Interrupter::new();
    let cluster = Rc::new(Cluster::join(&interrupter)?);
    let asked =
        cluster.agree(asked(arguments).and_then(|asked| check(asked, arguments, &cluster)))?;
    stop_on_signal(&interrupter, cluster.is_alone())?;
    match open_and_train(arguments, &asked, &interrupter, &cluster) {
        Ok(Outcome::Finished) => Ok(ExitCode::SUCCESS),
        Ok(Outcome::Interrupted) => Ok(ExitCode::from(INTERRUPTED)),
        Err(error) => {
            let fails_alone = matches!(error, TrainError::Rank { .. });
            let error = error.into();
            if fails_alone {
                print_error(&error);
                cluster.abort(failure(&error));
            }
            Err(error)
        }
    }
}

/// The experiment, its folder and its seeds (those of --seeds, or of the runs that --resume continues). With several
/// seeds the experiment has the first seed.
fn asked(arguments: &Train) -> Result<Asked, TrainError> {
    let mut proposal = experiment(arguments)?;
    let out = out(arguments, &proposal.experiment.name)?;
    let seeds = match &arguments.seeds {
        Some(seeds) => Some(Seeds::parse(seeds)?),
        None if arguments.resume.is_some() => Seeds::read(&out)?,
        None => None,
    };
    if let Some(seeds) = &seeds {
        if let Some(seed) = settings::value_of(&arguments.overrides, "train.seed") {
            return Err(TrainError::Value {
                key: "train.seed".into(),
                found: format!("{seed}, beside the seeds {seeds}"),
                accepted: "--seeds alone".into(),
            });
        }
        proposal.experiment.train.seed = seeds.first();
    }
    Ok(Asked {
        proposal,
        out,
        seeds,
    })
}

/// Refuses options that several seeds do not support.
fn check(asked: Asked, arguments: &Train, cluster: &Cluster) -> Result<Asked, TrainError> {
    let Some(seeds) = &asked.seeds else {
        return Ok(asked);
    };
    let refuse = |found: String, accepted: &str| TrainError::Value {
        key: "--seeds".into(),
        found,
        accepted: accepted.into(),
    };
    if arguments.tui {
        let found = format!("{seeds}, with --tui");
        return Err(refuse(found, "lines and a progress bar, without --tui"));
    }
    if !cluster.is_alone() {
        let found = format!("{seeds}, for {} processes together", cluster.ranks());
        return Err(refuse(
            found,
            "one process, or a run for each seed: --set train.seed=N",
        ));
    }
    Ok(asked)
}

/// The experiment of --config, that for --data, or that of the run in the folder of --resume, with lines on choices.
fn experiment(arguments: &Train) -> Result<Proposal, TrainError> {
    match (&arguments.config, &arguments.data) {
        (Some(config), _) => settings::load(config, &arguments.overrides).map(written),
        (None, Some(data)) => experiment_for(data, arguments),
        // One of the three is required.
        (None, None) => experiment_of_run(arguments).map(written),
    }
}

/// An experiment without lines.
fn written(experiment: Experiment) -> Proposal {
    Proposal {
        experiment,
        lines: Vec::new(),
    }
}

/// The experiment for --data: a new one, or that of the run folder if --resume continues a run.
fn experiment_for(data: &Path, arguments: &Train) -> Result<Proposal, TrainError> {
    let (overrides, from) = (&arguments.overrides, arguments.from.as_deref());
    let run = out(arguments, &proposal::name(data, overrides))?;
    let begun = match arguments.resume.is_some() {
        true => experiment_in(&run)?,
        false => None,
    };
    let Some(mut experiment) = begun else {
        return propose(data, from, overrides);
    };
    proposal::check_root(overrides)?;
    check_start(&experiment, &run, from)?;
    experiment.data.root = data.into();
    let experiment = settings::overridden(&experiment, overrides)?;
    require_there(&experiment.data.root, &run)?;
    Ok(written(experiment))
}

/// The experiment of the run in the folder of --resume.
fn experiment_of_run(arguments: &Train) -> Result<Experiment, TrainError> {
    let refuse = |found: String| TrainError::Value {
        key: "--resume".into(),
        found,
        accepted: "the folder of a run, as in --resume runs/NAME; or --config or --data with it"
            .into(),
    };
    let Some(Some(run)) = &arguments.resume else {
        return Err(refuse("without a folder".into()));
    };
    let Some(experiment) = experiment_in(run)? else {
        return Err(refuse(format!(
            "{}, where no run was started",
            run.display()
        )));
    };
    let experiment = settings::overridden(&experiment, &arguments.overrides)?;
    let data = &experiment.data;
    if data.format.name() != "synthetic" && !data.root.exists() {
        return Err(TrainError::Value {
            key: "data.root".into(),
            found: format!(
                "{}, where the run in {} had its data; that place does not exist",
                data.root.display(),
                run.display()
            ),
            accepted: "the place that the data has moved to, as in --set data.root=PLACE".into(),
        });
    }
    Ok(experiment)
}

/// Refuses missing data for the run in the folder `out`, which was started on this data.
fn require_there(data: &Path, out: &Path) -> Result<(), TrainError> {
    if data.exists() {
        return Ok(());
    }
    Err(TrainError::Value {
        key: "--data".into(),
        found: format!("{}, which does not exist", data.display()),
        accepted: format!(
            "the data that the run in {} was started on; if it has moved, --data PLACE --resume --out {}",
            out.display(),
            out.display()
        ),
    })
}

/// The folder of --resume or --out, or else the default folder of the run `name`.
fn out(arguments: &Train, name: &str) -> Result<PathBuf, TrainError> {
    match (arguments.resume.clone().flatten(), arguments.out.clone()) {
        (Some(run), Some(out)) => Err(TrainError::Value {
            key: "--out".into(),
            found: format!("{}, beside --resume {}", out.display(), run.display()),
            accepted: "one of the two".into(),
        }),
        (run, out) => Ok(run.or(out).unwrap_or_else(|| Path::new("runs").join(name))),
    }
}

fn open_and_train(
    arguments: &Train,
    asked: &Asked,
    interrupter: &Interrupter,
    cluster: &Rc<Cluster>,
) -> Result<Outcome, TrainError> {
    let Proposal { experiment, lines } = &asked.proposal;
    cluster.wait_at_most(&experiment.cluster);
    let threads = use_share_of_threads(arguments.compute.threads, cluster.ranks_here());
    let options = RunOptions {
        device: arguments.compute.device.clone(),
        threads,
        out: asked.out.clone(),
        existing: match (arguments.resume.is_some(), arguments.force) {
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
    match &asked.seeds {
        None => train_together(experiment, &options, cluster, &mut console),
        Some(seeds) => train_seeds(experiment, seeds, &options, interrupter, &mut console),
    }
}
