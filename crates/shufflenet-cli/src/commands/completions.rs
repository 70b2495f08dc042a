//! `shufflenet completions`: prints a script that completes the command line in a shell.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::arguments::{Arguments, Completions};
use crate::process::print;

pub fn run(arguments: &Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "shufflenet", &mut script);
    print(&String::from_utf8_lossy(&script))
}
