//! `shufflenet summary`: prints the network of an experiment, or of arguments, layer by layer.

use std::process::ExitCode;

use shufflenet_train::experiment::summary::summarise;

use crate::arguments::Summary;
use crate::process::print;

pub fn run(arguments: &Summary) -> anyhow::Result<ExitCode> {
    let config = arguments.network.config.as_deref();
    let summary = summarise(config, &arguments.network.overrides(), arguments.input)?;
    print(&match arguments.json {
        true => format!("{}\n", serde_json::to_string(&summary)?),
        false => format!("{summary}\n"),
    })
}
