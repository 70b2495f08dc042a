//! The command line. Each flag is explained where it is declared; `--help` prints it.

mod compute;
mod data;
mod numbers;
mod trained;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use shufflenet_train::Precision;

pub use compute::{Compute, Stored};
#[cfg(feature = "fetch")]
pub use data::Fetch;
pub use data::{Data, Preview, Set, Stats};
use numbers::{rate, steps, whole};
pub use trained::{Eval, Export, ExportFormat, Import, Predict, Report};

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
    /// Train the experiment in a TOML file, or on a folder of images
    Train(Train),
    /// Evaluate a checkpoint on data
    Eval(Eval),
    /// Print a network layer by layer: output shapes, parameters, multiply-adds
    Summary(Summary),
    /// Time training, inference or data loading on this machine
    Bench(Bench),
    /// Fetch, check, measure and preview sets of images
    #[command(subcommand)]
    Data(Data),
    /// Find a learning rate: train for some steps while the rate rises, and plot the loss
    LrFind(LrFind),
    /// List the devices of this build and of this machine
    Devices(Devices),
    /// Classify images: files, folders, patterns, standard input
    Predict(Predict),
    /// Write one HTML file about a run, or a comparison of several
    Report(Report),
    /// Make a checkpoint from weights that PyTorch saved, such as torchvision's
    Import(Import),
    /// Write a checkpoint's network for PyTorch (safetensors), for ONNX runtimes, as a model with a card, or for a browser
    Export(Export),
    /// Download networks that were trained on ImageNet, to start from or to use
    #[cfg(feature = "fetch")]
    #[command(subcommand)]
    Weights(Weights),
    /// Print a script that completes this command's arguments in a shell
    Completions(Completions),
}

/// `shufflenet train`
#[derive(Args)]
#[command(group = ArgGroup::new("experiment").required(true).multiple(true).args(["config", "data", "resume"]))]
pub struct Train {
    /// The experiment
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub config: Option<PathBuf>,
    /// Images to train on, instead of an experiment: a folder with a folder for each class, a list, a known set.
    /// Everything else is chosen to suit them, and printed
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// With --data, weights to start from: x0.5, x1.0, x1.5 or x2.0 (after `weights fetch`), a run, a checkpoint
    #[arg(
        long,
        value_name = "NETWORK",
        requires = "data",
        conflicts_with = "config"
    )]
    pub from: Option<String>,
    /// Override a key of the experiment, as in --set train.epochs=3; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub overrides: Vec<String>,
    /// Train once from each of these seeds, as in 1,2,3, in the folders seed-1, seed-2... of the run folder
    #[arg(long, value_name = "N,N...", allow_hyphen_values = true)]
    pub seeds: Option<String>,
    #[command(flatten)]
    pub compute: Compute,
    /// The run folder [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continue the run in the run folder, or in DIR, which needs no --config
    #[arg(long, value_name = "DIR", num_args = 0..=1, conflicts_with = "force")]
    #[expect(
        clippy::option_option,
        reason = "not given, given, given with a folder"
    )]
    pub resume: Option<Option<PathBuf>>,
    /// With --resume, continue although the data has changed since the run started
    #[arg(long, requires = "resume")]
    pub accept_changed_data: bool,
    /// With --resume, continue although train.precision differs from that of the run
    #[arg(long, requires = "resume")]
    pub accept_changed_precision: bool,
    /// Delete the run in the run folder and start a new one
    #[arg(long)]
    pub force: bool,
    /// Run one batch through everything, including a checkpoint, and leave no files
    #[arg(long, conflicts_with_all = ["resume", "force"])]
    pub dry_run: bool,
    /// Print the experiment with every default and override, and exit
    #[arg(long)]
    pub print_config: bool,
    /// Show the run on Burn's dashboard, which needs a terminal and a build with --features tui
    #[arg(long, conflicts_with_all = ["dry_run", "print_config"])]
    pub tui: bool,
}

/// The network: that of an experiment, or one given by flags.
#[derive(Args)]
pub struct Network {
    /// The experiment that has the network [default: a network given by the flags below]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Width: 0.5, 1.0, 1.5 or 2.0
    #[arg(long, value_name = "NUMBER")]
    scale: Option<String>,
    /// standard or seed
    #[arg(long, value_name = "NAME")]
    layout: Option<String>,
    /// imagenet, seed or cifar
    #[arg(long, value_name = "NAME")]
    stem: Option<String>,
    /// Number of classes
    #[arg(long, value_name = "N")]
    classes: Option<String>,
    /// Any other key, as in --set model.split_ratio=0.25; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
}

impl Network {
    /// The flags for keys, with their values, and the overrides.
    pub fn overrides(&self) -> Vec<String> {
        let flags = [
            ("scale", &self.scale),
            ("layout", &self.layout),
            ("stem", &self.stem),
            ("classes", &self.classes),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| {
            let value = value.as_ref()?;
            Some(format!("--{key} {value}"))
        });
        flags.chain(self.overrides.iter().cloned()).collect()
    }
}

/// `shufflenet summary`
#[derive(Args)]
pub struct Summary {
    #[command(flatten)]
    pub network: Network,
    /// Channels, height and width of an image, as in 3x32x32 [default: those of the experiment's data;
    /// without data 32x32 for the cifar stem, else 224x224]
    #[arg(long, value_name = "CxHxW", value_parser = image_size)]
    pub input: Option<[usize; 3]>,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Reads `3x32x32`.
fn image_size(text: &str) -> Result<[usize; 3], String> {
    let sizes: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
    let sizes = sizes.ok().and_then(|sizes| sizes.try_into().ok());
    sizes.ok_or_else(|| "accepted: channels, height and width, as in 3x32x32".into())
}

/// `shufflenet bench`
#[derive(Args)]
pub struct Bench {
    /// What to time
    pub work: Work,
    #[command(flatten)]
    pub network: Network,
    /// Time the next steps of a run (only for train): its folder (the last checkpoint in it) or a checkpoint's
    #[arg(long, value_name = "PATH", conflicts_with_all = ["config", "scale", "layout", "stem", "classes", "overrides", "batch", "size", "precision"])]
    pub checkpoint: Option<PathBuf>,
    /// Where that run's data is [default: where the run had it]
    #[arg(long, value_name = "DIR", requires = "checkpoint")]
    pub data: Option<PathBuf>,
    /// Images in a batch [default: the experiment's, else 128]
    #[arg(long, value_name = "N", value_parser = whole(1..=u16::MAX))]
    pub batch: Option<u16>,
    /// Height and width of the images [default: the experiment's, else 32 for the cifar stem and 224 for others]
    #[arg(long, value_name = "PIXELS", value_parser = whole(1..=u16::MAX))]
    pub size: Option<u16>,
    /// Type of stored activations: f32, or bf16 (on the CPU; train: on a GPU, too) [default: f32; train: the experiment's]
    #[arg(long, value_name = "NAME", value_parser = compute::precision)]
    pub precision: Option<Precision>,
    /// Steps to time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = whole(1..=u16::MAX))]
    pub steps: u16,
    #[command(flatten)]
    pub compute: Compute,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}

/// The work that `shufflenet bench` times.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// Training steps on noise, those of an experiment (--config), or the next steps of a run (--checkpoint)
    Train,
    /// Inference on noise
    Infer,
    /// Loading of an experiment's training batches (needs --config)
    Data,
}

/// `shufflenet lr-find`
#[derive(Args)]
pub struct LrFind {
    /// The experiment with the network, the data and the optimizer
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Override a key of the experiment, as in --set train.batch_size=128; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub overrides: Vec<String>,
    /// The first rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-4, value_parser = rate)]
    pub from: f64,
    /// The last rate; an exploding loss ends the test earlier
    #[arg(long, value_name = "RATE", default_value_t = 10.0, value_parser = rate)]
    pub to: f64,
    /// Steps from the first rate to the last
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = steps)]
    pub steps: usize,
    /// Also write the plot as an SVG picture; a file that exists is not replaced
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub compute: Compute,
}

/// `shufflenet weights`
#[cfg(feature = "fetch")]
#[derive(Subcommand)]
pub enum Weights {
    /// Download torchvision's weights of one width, check them, and make a checkpoint from them
    Fetch(FetchWeights),
}

/// `shufflenet weights fetch`
#[cfg(feature = "fetch")]
#[derive(Args)]
pub struct FetchWeights {
    /// x0.5, x1.0, x1.5 or x2.0
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(shufflenet_train::exchange::pretrained::names()))]
    pub network: String,
    /// Folder for networks, in which this one gets its own folder
    #[arg(long, value_name = "DIR", default_value = "weights")]
    pub into: PathBuf,
    /// The file, or the address of a folder that has it, instead of torchvision's server
    #[arg(long, value_name = "FILE|URL")]
    pub from: Option<String>,
}

/// `shufflenet completions`
#[derive(Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `shufflenet devices`
#[derive(Args)]
pub struct Devices {
    /// Also compare training steps on every GPU with the CPU's; exit code 1 if a GPU computes wrongly
    #[arg(long)]
    pub check: bool,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}
