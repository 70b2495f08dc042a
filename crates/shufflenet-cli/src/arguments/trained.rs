//! Arguments of the commands on a trained network: eval, predict, report, import, export.

use std::path::PathBuf;

use clap::Args;

use super::numbers::{of_channel, whole};
use super::{Compute, Network, Stored};

/// `shufflenet eval`
#[derive(Args)]
pub struct Eval {
    /// A run folder (its best checkpoint), a checkpoint folder, or one of its weight files
    #[arg(long, value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// Where the data is: a folder, a list, an archive [default: where the run had it]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Part of the data: test, validation, train or all [default: the first of test, validation, all that the data has]
    #[arg(long, value_name = "PART")]
    pub split: Option<String>,
    #[command(flatten)]
    pub classes: UnknownClasses,
    /// Order of the classes of a network without class names: bytes (1, 10, 2) or value (1, 2, 10)
    #[arg(long, value_name = "ORDER")]
    pub class_order: Option<ClassOrder>,
    #[command(flatten)]
    pub weights: WhichWeights,
    /// Take the mean logits of each image and its mirror image
    #[arg(long)]
    pub tta: bool,
    /// Also write the prediction for each image to a CSV file; an existing file is not replaced
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,
    #[command(flatten)]
    pub compute: Compute,
    #[command(flatten)]
    pub stored: Stored,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `shufflenet predict`
#[derive(Args)]
pub struct Predict {
    /// A run folder (its best checkpoint), a checkpoint folder, or one of its weight files
    #[arg(long, value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// Images, folders of images, patterns; - is an image on standard input, or names, one per line
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,
    /// Classes to name, the likeliest first
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole(1..=u16::MAX))]
    pub top: u16,
    /// Print one JSON object per image on standard output and nothing else
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print rows of path, rank, class, name, probability
    #[arg(long)]
    pub csv: bool,
    /// With --json, all logits, too
    #[arg(long, requires = "json")]
    pub logits: bool,
    #[command(flatten)]
    pub weights: WhichWeights,
    /// Images that go through the network at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole(1..=u16::MAX))]
    pub batch: u16,
    #[command(flatten)]
    pub compute: Compute,
    #[command(flatten)]
    pub stored: Stored,
}

/// `shufflenet report`
#[derive(Args)]
pub struct Report {
    /// Run folders; several are compared. The folder of train --seeds gives one report of all seeds
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// The file to write; only an earlier report is replaced [default: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where the data is: a folder, a list, an archive [default: where the run had it]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Which part the best checkpoint is evaluated on: test, validation, train or all [default: the first of test,
    /// validation, all that the data has]
    #[arg(long, value_name = "PART")]
    pub split: Option<String>,
    #[command(flatten)]
    pub classes: UnknownClasses,
    #[command(flatten)]
    pub compute: Compute,
}

/// `shufflenet import`
#[derive(Args)]
pub struct Import {
    /// A .pth, .pt or .safetensors file under torchvision's, Megvii's or the seed layout's names
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub network: Network,
    /// Mean by channel of pixels scaled to 0..1, as in 0.485,0.456,0.406
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', value_parser = of_channel, requires = "std")]
    mean: Option<Vec<f32>>,
    /// Standard deviation by channel of pixels scaled to 0..1
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', value_parser = of_channel, requires = "mean")]
    std: Option<Vec<f32>>,
    /// The network takes blue, green, red, as OpenCV reads images: reorder its first convolution
    #[arg(long)]
    pub bgr: bool,
    /// Names of the classes, one per line in the order of the logits [default: 0, 1, 2...]
    #[arg(long, value_name = "FILE")]
    pub class_names: Option<PathBuf>,
    /// Height and width of the images [default: 32 for the cifar stem, else 224]
    #[arg(long, value_name = "PIXELS", value_parser = whole(1..=4096))]
    pub size: Option<u16>,
    /// Prefix of the network's tensors, if the file has several networks
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Take the tensors that fit, even if others are missing, unused or of another shape
    #[arg(long)]
    pub partial: bool,
}

impl Import {
    /// Mean and deviation, if given.
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
    /// safetensors (torchvision's or the seed layout's names, for load_state_dict), onnx, model (a folder that is a
    /// checkpoint in float16, with a card), or web (a folder with a page that classifies in a browser)
    #[arg(long, value_name = "NAME")]
    pub format: ExportFormat,
    /// The file to write, or the folder to make; what exists is not replaced
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Licence of the weights, one line for the card or the page; model needs it, web may have it
    #[arg(long, value_name = "TEXT")]
    pub licence: Option<String>,
    /// Model: data for the accuracy on the card [default: where the run had it]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// ONNX: images of any height and width, instead of the checkpoint's
    #[arg(long)]
    pub dynamic_size: bool,
    #[command(flatten)]
    pub weights: WhichWeights,
}

/// The format that `shufflenet export` writes.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// For PyTorch
    Safetensors,
    /// For ONNX runtimes
    Onnx,
    /// A folder that is a checkpoint, with a card
    Model,
    /// For a browser: a page that classifies pictures
    Web,
}

/// The choice of weights of a checkpoint with a moving average.
#[derive(Args)]
pub struct WhichWeights {
    /// Which weights [default: the moving average if there is one]
    #[arg(long)]
    weights: Option<Weights>,
}

impl WhichWeights {
    pub fn chosen(&self) -> Option<shufflenet_train::evaluation::trained::Weights> {
        self.weights.map(Into::into)
    }
}

/// One of the two sets of weights of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Weights {
    /// The trained weights
    Raw,
    /// Their moving average
    Ema,
}

impl From<Weights> for shufflenet_train::evaluation::trained::Weights {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::Raw => Self::Raw,
            Weights::Ema => Self::Ema,
        }
    }
}

/// What to do about classes that the network does not know.
#[derive(Args)]
pub struct UnknownClasses {
    /// Leave out images of classes that the network does not know, and count them, instead of refusing the data
    #[arg(long)]
    skip_unknown_classes: bool,
}

impl UnknownClasses {
    pub fn unknown(&self) -> shufflenet_train::UnknownClasses {
        match self.skip_unknown_classes {
            true => shufflenet_train::UnknownClasses::LeaveOut,
            false => shufflenet_train::UnknownClasses::Refuse,
        }
    }
}

/// The order of classes with whole numbers as names.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ClassOrder {
    /// By the bytes of the names: 1, 10, 2
    Bytes,
    /// By value: 1, 2, 10
    Value,
}

impl From<ClassOrder> for shufflenet_train::ClassOrder {
    fn from(order: ClassOrder) -> Self {
        match order {
            ClassOrder::Bytes => Self::Bytes,
            ClassOrder::Value => Self::Value,
        }
    }
}
