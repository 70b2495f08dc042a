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
    /// Time training, inference or data loading on this machine
    Bench(Bench),
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

/// `shufflenet bench`
#[derive(Args)]
pub struct Bench {
    /// What to time
    pub work: Work,
    /// Take network, batch size and data from an experiment
    #[arg(long, value_name = "FILE", conflicts_with_all = ["layout", "scale", "stem"])]
    pub config: Option<PathBuf>,
    /// Layout: standard or seed [default: standard]
    #[arg(long)]
    pub layout: Option<String>,
    /// Width: 0.5, 1.0, 1.5 or 2.0 [default: 1.0]
    #[arg(long)]
    pub scale: Option<String>,
    /// Stem: imagenet, seed or cifar [default: the layout's]
    #[arg(long)]
    pub stem: Option<String>,
    /// Images in a batch [default: the experiment's, or 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Option<u16>,
    /// Height and width of the images
    #[arg(long, value_name = "PIXELS", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub size: u16,
    /// Steps to time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,
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

/// What `shufflenet bench` times.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// Training steps
    Train,
    /// Inference
    Infer,
    /// Loading of training batches (needs --config)
    Data,
}
