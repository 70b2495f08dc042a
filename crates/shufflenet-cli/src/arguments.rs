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
    /// Print a network layer by layer: output shapes, parameters, multiply-adds
    Summary(Summary),
    /// Time training, inference or data loading on this machine
    Bench(Bench),
    /// Fetch, check, measure and look at sets of images
    #[command(subcommand)]
    Data(Data),
    /// Find a learning rate: train for some steps while the rate rises, and plot the loss
    LrFind(LrFind),
    /// List what this build can run on, and what it finds on this machine
    Devices(Devices),
    /// Classify images: files, folders, patterns, standard input
    Predict(Predict),
    /// Write a run, or several compared, as one HTML file
    Report(Report),
    /// Make a checkpoint of weights that PyTorch saved, torchvision's among them
    Import(Import),
    /// Write a checkpoint's network for PyTorch (safetensors) or for any ONNX runtime
    Export(Export),
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
    /// Where tensors are computed: flex (CPU), ndarray, wgpu, wgpu:1, vulkan, cuda...
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
    /// Put one batch through everything, a checkpoint included, and leave nothing behind
    #[arg(long, conflicts_with_all = ["resume", "force"])]
    pub dry_run: bool,
    /// Print the experiment with every default and override filled in, and leave
    #[arg(long)]
    pub print_config: bool,
}

/// `shufflenet eval`
#[derive(Args)]
pub struct Eval {
    /// A run folder (its best checkpoint), a checkpoint folder, or one of its weight files
    #[arg(long, value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// Where the data is [default: where the run had it]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Which part: test, validation or train
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Which weights [default: the moving average where there is one]
    #[arg(long)]
    pub weights: Option<Weights>,
    /// Take the mean logits of each image and its mirror image
    #[arg(long)]
    pub tta: bool,
    /// Also write what was said of each image to a CSV file; one that exists is not replaced
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,
    /// Where tensors are computed: flex (CPU), ndarray, wgpu, wgpu:1, vulkan, cuda...
    #[arg(long, value_name = "NAME", default_value = shufflenet_train::device::DEFAULT)]
    pub device: String,
    /// CPU threads [default: what this machine or container allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Which network: an experiment's, or one of flags.
#[derive(Args)]
pub struct Network {
    /// The experiment whose network it is [default: a network of the flags below alone]
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
    /// Classes to tell apart
    #[arg(long, value_name = "N")]
    classes: Option<String>,
    /// Any other key, as in --set model.split_ratio=0.25; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
}

impl Network {
    /// The flags that stand for keys, as overrides.
    pub fn overrides(&self) -> Vec<String> {
        let flags = [
            ("scale", &self.scale),
            ("layout", &self.layout),
            ("stem", &self.stem),
            ("classes", &self.classes),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| {
            let value = value.as_ref()?;
            Some(format!("model.{key}={value}"))
        });
        flags.chain(self.overrides.iter().cloned()).collect()
    }
}

/// `shufflenet summary`
#[derive(Args)]
pub struct Summary {
    #[command(flatten)]
    pub network: Network,
    /// Channels, height and width of an image, as in 3x32x32 [default: 32x32 for the cifar stem, else
    /// 224x224]
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
    sizes.ok_or_else(|| "channels, height and width are accepted, as in 3x32x32".into())
}

/// `shufflenet bench`
#[derive(Args)]
pub struct Bench {
    /// What to time
    pub work: Work,
    #[command(flatten)]
    pub network: Network,
    /// Images in a batch [default: 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Option<u16>,
    /// Height and width of the images [default: 32 for the cifar stem, else 224]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(1..))]
    pub size: Option<u16>,
    /// Steps to time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,
    /// Where tensors are computed: flex (CPU), ndarray, wgpu, wgpu:1, vulkan, cuda...
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
    /// Training steps on noise
    Train,
    /// Inference on noise
    Infer,
    /// Loading of an experiment's training batches (needs --config)
    Data,
}

/// `shufflenet data`
#[derive(Subcommand)]
pub enum Data {
    /// Download a published set, or take it from a file; what is there already is checked, never replaced
    #[cfg(feature = "fetch")]
    Fetch(Fetch),
    /// Read and decode every image of an experiment's data, and name the bad ones
    Verify(Set),
    /// Images a class, sizes, mean and deviation, duplicates within and across training and test part
    Stats(Stats),
    /// Write a PNG of training images with their labels, augmented as the network will see them
    Preview(Preview),
}

/// `shufflenet data fetch`
#[cfg(feature = "fetch")]
#[derive(Args)]
pub struct Fetch {
    /// cifar10, cifar100, fashion-mnist or mnist
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(shufflenet_train::fetch_names()))]
    pub set: String,
    /// Where sets lie; this one gets a folder of its own there
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub into: PathBuf,
    /// The archive (of MNIST and Fashion-MNIST the folder with the .gz files), instead of a download
    #[arg(long, value_name = "ARCHIVE")]
    pub from: Option<PathBuf>,
}

/// Which data: an experiment's, or that of `--set data.format=... --set data.root=...`.
#[derive(Args)]
pub struct Set {
    /// The experiment whose data it is
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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

/// `shufflenet lr-find`
#[derive(Args)]
pub struct LrFind {
    /// The experiment whose network, data and optimizer are tried
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Override a key of the experiment, as in --set train.batch_size=128; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub overrides: Vec<String>,
    /// The first rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-4)]
    pub from: f64,
    /// The last rate; a loss that explodes ends it before
    #[arg(long, value_name = "RATE", default_value_t = 10.0)]
    pub to: f64,
    /// Steps from the first rate to the last
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub steps: usize,
    /// Also write the plot as an SVG picture; a file that exists is not replaced
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Where tensors are computed: flex (CPU), ndarray, wgpu, wgpu:1, vulkan, cuda...
    #[arg(long, value_name = "NAME", default_value = shufflenet_train::device::DEFAULT)]
    pub device: String,
    /// CPU threads [default: what this machine or container allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// `shufflenet devices`
#[derive(Args)]
pub struct Devices {
    /// Also compare training steps on every GPU with the CPU's; exit code 1 where one computes wrongly
    #[arg(long)]
    pub check: bool,
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
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub count: u16,
}

/// Which weights of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Weights {
    /// Those that were trained
    Raw,
    /// Their moving average
    Ema,
}

impl From<Weights> for shufflenet_train::trained::Weights {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::Raw => Self::Raw,
            Weights::Ema => Self::Ema,
        }
    }
}

/// `shufflenet import`
#[derive(Args)]
pub struct Import {
    /// A .pth, .pt or .safetensors file under torchvision's or the listing's names
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub network: Network,
    /// Mean by channel of pixels scaled to 0..1, as in 0.485,0.456,0.406
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', requires = "std")]
    mean: Option<Vec<f32>>,
    /// Standard deviation, likewise
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', requires = "mean")]
    std: Option<Vec<f32>>,
    /// Names of the classes, one a line in the order of the logits [default: 0, 1, 2...]
    #[arg(long, value_name = "FILE")]
    pub class_names: Option<PathBuf>,
    /// Height and width of the images [default: 32 for the cifar stem, else 224]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub size: Option<u16>,
    /// What the names of the wanted tensors begin with, where the file holds several networks
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Take the tensors that fit, whatever is missing, unused or of another shape
    #[arg(long)]
    pub partial: bool,
}

impl Import {
    /// Mean and deviation, where given.
    pub fn normalization(&self) -> Option<shufflenet_train::Normalization> {
        let (mean, std) = (self.mean.clone()?, self.std.clone()?);
        Some(shufflenet_train::Normalization { mean, std })
    }
}

/// `shufflenet export`
#[derive(Args)]
pub struct Export {
    /// A run folder (its best checkpoint), a checkpoint folder, or one of its weight files
    #[arg(long, value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// safetensors (torchvision's or the listing's names, for load_state_dict) or onnx
    #[arg(long, value_name = "NAME")]
    pub format: ExportFormat,
    /// The file to write; one that exists is not replaced
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Which weights [default: the moving average where there is one]
    #[arg(long)]
    pub weights: Option<Weights>,
}

/// What `shufflenet export` writes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// For PyTorch
    Safetensors,
    /// For ONNX runtimes
    Onnx,
}

/// `shufflenet predict`
#[derive(Args)]
pub struct Predict {
    /// A run folder (its best checkpoint), a checkpoint folder, or one of its weight files
    #[arg(long, value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// Images, folders of images, patterns; - is an image on standard input, or names, one a line
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,
    /// Classes to name, the likeliest first
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub top: u16,
    /// Print one JSON object an image on standard output and nothing else
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print rows of path, rank, class, name, probability
    #[arg(long)]
    pub csv: bool,
    /// With --json, all logits, too
    #[arg(long, requires = "json")]
    pub logits: bool,
    /// Which weights [default: the moving average where there is one]
    #[arg(long)]
    pub weights: Option<Weights>,
    /// Images that go through the network at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// Where tensors are computed: flex (CPU), ndarray, wgpu, wgpu:1, vulkan, cuda...
    #[arg(long, value_name = "NAME", default_value = shufflenet_train::device::DEFAULT)]
    pub device: String,
    /// CPU threads [default: what this machine or container allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// `shufflenet report`
#[derive(Args)]
pub struct Report {
    /// Run folders; several are compared
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// The file to write; only an earlier report is replaced [default: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where the data is [default: where the run had it]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Which part the best checkpoint is evaluated on: test, validation or train
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Where tensors are computed: flex (CPU), ndarray, wgpu, wgpu:1, vulkan, cuda...
    #[arg(long, value_name = "NAME", default_value = shufflenet_train::device::DEFAULT)]
    pub device: String,
    /// CPU threads [default: what this machine or container allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}
