//! `shufflenet report`: writes the page of one run or of several.

use std::io::{Write, stderr};
use std::process::ExitCode;

use shufflenet_train::report::{ReportRequest, report};

use crate::arguments::Report;
use crate::process::print;

pub fn run(arguments: &Report) -> anyhow::Result<ExitCode> {
    arguments.compute.use_threads();
    let (out, notes) = report(&ReportRequest {
        runs: arguments.runs.clone(),
        out: arguments.out.clone(),
        data: arguments.data.clone(),
        split: arguments.split.clone(),
        unknown: arguments.classes.unknown(),
        device: arguments.compute.device.clone(),
    })?;
    for note in notes {
        let _ = writeln!(stderr(), "note: {note}");
    }
    print(&format!("{}\n", out.display()))
}
