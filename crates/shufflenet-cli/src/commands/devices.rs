//! `shufflenet devices`: lists the devices, and checks that they compute correctly.

use std::process::ExitCode;

use shufflenet_train::device::list;

use crate::arguments::Devices;
use crate::process::print;

pub fn run(arguments: &Devices) -> anyhow::Result<ExitCode> {
    let listing = list::list(arguments.check);
    print(&match arguments.json {
        true => format!("{}\n", serde_json::to_string(&listing)?),
        false => listing.to_string(),
    })?;
    Ok(match listing.all_right() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}
