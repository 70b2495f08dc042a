//! `shufflenet weights`: fetches a published network and imports it.

use std::process::ExitCode;

use shufflenet_train::data::tools::with_bar;
use shufflenet_train::exchange::pretrained;

use crate::arguments::{FetchWeights, Weights};
use crate::process::print;

pub fn run(arguments: &Weights) -> anyhow::Result<ExitCode> {
    let Weights::Fetch(FetchWeights {
        network,
        into,
        from,
    }) = arguments;
    let lines = with_bar(|progress| pretrained::fetch(network, into, from.as_deref(), progress))?;
    print(&format!("{}\n", lines.join("\n")))
}
