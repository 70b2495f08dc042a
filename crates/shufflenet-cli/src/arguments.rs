//! The command line. Each flag is explained where it is declared; `--help` prints it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Train and evaluate ShuffleNetV2 image classifiers.
#[derive(Parser)]
#[command(name = "shufflenet", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Train the experiment in a TOML file
    Train(Train),
    /// Evaluate a checkpoint, everything computed anew from its weights and the data
    Eval(Eval),
    /// List what this build can run on, and what it finds on this machine
    Devices,
}

/// `shufflenet train`
#[derive(Args)]
pub struct Train {
    /// The experiment
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Override a key of the experiment, as in --set train.epochs=3; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub overrides: Vec<String>,
    /// Where tensors are computed: flex (CPU), ndarray, wgpu, wgpu:1...
    #[arg(long, value_name = "NAME", default_value = shufflenet_train::device::DEFAULT)]
    pub device: String,
    /// CPU threads [default: what this machine or container allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// The run folder [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the run in the run folder
    #[arg(long, conflicts_with = "force")]
    pub resume: bool,
    /// Delete the run in the run folder and start anew
    #[arg(long)]
    pub force: bool,
    /// Print the experiment with every default and override filled in, and leave
    #[arg(long)]
    pub print_config: bool,
}

/// `shufflenet eval`
#[derive(Args)]
pub struct Eval {
    /// A run folder (its best checkpoint), a checkpoint folder, or its model.safetensors
    #[arg(long, value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// Where the data is [default: where the run had it]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Which part: test, validation or train
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Where tensors are computed: flex (CPU), ndarray, wgpu, wgpu:1...
    #[arg(long, value_name = "NAME", default_value = shufflenet_train::device::DEFAULT)]
    pub device: String,
    /// CPU threads [default: what this machine or container allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}
