//! `shufflenet data`: runs its commands and prints their results.

use std::process::ExitCode;

use shufflenet_train::data::proposal::{self, propose};
use shufflenet_train::data::tools::{self, Verified};
use shufflenet_train::display::words::{counted, plural};
use shufflenet_train::experiment::settings;
use shufflenet_train::files::{require_new_file, write_new};
use shufflenet_train::{TrainError, experiment::Experiment};

#[cfg(feature = "fetch")]
use crate::arguments::Fetch;
use crate::arguments::{Data, Preview, Set, Stats};
use crate::process::print;

pub fn run(arguments: &Data) -> anyhow::Result<ExitCode> {
    match arguments {
        #[cfg(feature = "fetch")]
        Data::Fetch(arguments) => fetch(arguments),
        Data::Verify(set) => verify(set),
        Data::Stats(arguments) => stats(arguments),
        Data::Preview(arguments) => preview(arguments),
    }
}

fn experiment(set: &Set) -> Result<Experiment, TrainError> {
    match &set.data {
        Some(data) => proposal::plain(data, &set.overrides),
        None => settings::load_or_assemble(set.config.as_deref(), &set.overrides),
    }
}

#[cfg(feature = "fetch")]
fn fetch(arguments: &Fetch) -> anyhow::Result<ExitCode> {
    let Fetch { set, into, from } = arguments;
    let (folder, was_there) = shufflenet_train::data::tools::fetch(set, into, from.as_deref())?;
    let folder = folder.display();
    print(&match was_there {
        true => format!("{folder}: already there, as published\n"),
        false => format!("{folder}: complete, as published\n"),
    })
}

fn verify(set: &Set) -> anyhow::Result<ExitCode> {
    let (parts, notes) = tools::verify(&experiment(set)?)?;
    let mut bad_images = 0;
    for Verified { split, count, bad } in parts {
        print(&format!(
            "{split}: {count} {}, {} bad\n",
            plural(count, "image"),
            bad.len()
        ))?;
        bad_images += bad.len();
        for line in bad {
            print(&format!("{line}\n"))?;
        }
    }
    for note in notes {
        print(&format!("{note}\n"))?;
    }
    Ok(ExitCode::from(u8::from(bad_images > 0)))
}

fn stats(arguments: &Stats) -> anyhow::Result<ExitCode> {
    let stats = tools::stats(&experiment(&arguments.set)?)?;
    print(&match arguments.json {
        true => format!("{}\n", serde_json::to_string(&stats)?),
        false => stats.to_string(),
    })
}

fn preview(arguments: &Preview) -> anyhow::Result<ExitCode> {
    let Preview { set, out, count } = arguments;
    require_new_file(out, "--out")?;
    let experiment = match &set.data {
        // The augmentation is that of `train --data`.
        Some(data) => propose(data, None, &set.overrides)?.experiment,
        None => experiment(set)?,
    };
    let (png, count) = tools::preview(&experiment, (*count).into())?;
    write_new(out, &png)?;
    print(&format!(
        "{}: {}\n",
        out.display(),
        counted(count, "training image")
    ))
}
