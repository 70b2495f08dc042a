//! Arguments of `shufflenet data`, a struct for each of its commands.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::numbers::whole;

/// `shufflenet data`
#[derive(Subcommand)]
pub enum Data {
    /// Download a published set, or take it from a file; existing files are checked and never replaced
    #[cfg(feature = "fetch")]
    Fetch(Fetch),
    /// Read and decode every image of an experiment's data, and name the bad ones
    Verify(Set),
    /// Print images per class, sizes, mean and deviation, duplicates within and between the parts
    Stats(Stats),
    /// Write a PNG of training images with their labels, augmented as in training
    Preview(Preview),
}

/// `shufflenet data fetch`
#[cfg(feature = "fetch")]
#[derive(Args)]
pub struct Fetch {
    /// cifar10, cifar100, fashion-mnist or mnist
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(shufflenet_train::fetch_names()))]
    pub set: String,
    /// Folder for sets, in which this one gets its own folder
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub into: PathBuf,
    /// The archive (for MNIST and Fashion-MNIST the folder with the .gz files), instead of a download
    #[arg(long, value_name = "ARCHIVE")]
    pub from: Option<PathBuf>,
}

/// The data: that of an experiment, that at a path, or that of `--set data.format=... --set data.root=...`.
#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["config", "data", "overrides"]))]
pub struct Set {
    /// The experiment that has the data
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub config: Option<PathBuf>,
    /// The data: a folder with a folder for each class, a list, a known set
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// A key, as in --set data.root=photos; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub overrides: Vec<String>,
}

/// `shufflenet data stats`
#[derive(Args)]
pub struct Stats {
    #[command(flatten)]
    pub set: Set,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `shufflenet data preview`
#[derive(Args)]
pub struct Preview {
    #[command(flatten)]
    pub set: Set,
    /// The PNG to write; a file that exists is not replaced
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Number of images
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = whole(1..=1024))]
    pub count: u16,
}
