//! The names of the parameters in weight files.
//!
//! Field names suit the reader of the Rust code; file names suit exchange with PyTorch. The standard layout
//! uses torchvision's names (`stage2.0.branch1.0.weight`), the seed layout the names of its PyTorch listing
//! (`shuffles.ShuffleConvs_0.DownsampleUnit.conv1r.weight`). [`names`] is the only place that maps one to
//! the other: a bijection between the paths of the module tree
//! (`stages.0.downsample.right.pointwise1.conv.weight`) and the names in files.

use crate::config::{Layout, ModelConfig};

/// The two names of a parameter or running statistic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Path of the entry in the module tree.
    pub path: String,
    /// Name of the entry in weight files.
    pub file: String,
}

/// The names of one convolution and its batch norm: our field, the convolution in files, the batch norm in
/// files.
type Triple<'a> = (&'a str, &'a str, &'a str);

/// The module names of one layout.
struct Table {
    stem: Triple<'static>,
    downsample: [Triple<'static>; 5],
    basic: [Triple<'static>; 3],
    /// Name of the squeeze-and-excitation module in a unit. Neither torchvision nor the seed network has this
    /// module: the paper's authors append their `SELayer`, which contains `SE_opr`, to the branch.
    squeeze_excitation: &'static str,
    last: Triple<'static>,
    /// The name of a unit of a stage, as a prefix. Unit 0 is the downsampling unit.
    unit: fn(stage: usize, unit: usize) -> String,
}

/// The numbers in a branch count the entries of the `Sequential`, including ReLUs.
const TORCHVISION: Table = Table {
    stem: ("stem", "conv1.0", "conv1.1"),
    downsample: [
        ("left_depthwise", "branch1.0", "branch1.1"),
        ("left_pointwise", "branch1.2", "branch1.3"),
        ("right.pointwise1", "branch2.0", "branch2.1"),
        ("right.depthwise", "branch2.3", "branch2.4"),
        ("right.pointwise2", "branch2.5", "branch2.6"),
    ],
    basic: [
        ("right.pointwise1", "branch2.0", "branch2.1"),
        ("right.depthwise", "branch2.3", "branch2.4"),
        ("right.pointwise2", "branch2.5", "branch2.6"),
    ],
    squeeze_excitation: "branch2.8.SE_opr",
    last: ("last", "conv5.0", "conv5.1"),
    // The paper counts the stem as stage 1.
    unit: |stage, unit| format!("stage{}.{unit}", stage + 2),
};

const LISTING: Table = Table {
    stem: ("stem", "conv1", "bn1"),
    downsample: [
        ("left_depthwise", "conv1l", "bn1l"),
        ("left_pointwise", "conv2l", "bn2l"),
        ("right.pointwise1", "conv1r", "bn1r"),
        ("right.depthwise", "conv2r", "bn2r"),
        ("right.pointwise2", "conv3r", "bn3r"),
    ],
    basic: [
        ("right.pointwise1", "conv1", "bn1"),
        ("right.depthwise", "conv2", "bn2"),
        ("right.pointwise2", "conv3", "bn3"),
    ],
    squeeze_excitation: "se.SE_opr",
    last: ("last", "conv_last", "bn_last"),
    unit: |stage, unit| match unit.checked_sub(1) {
        None => format!("shuffles.ShuffleConvs_{stage}.DownsampleUnit"),
        Some(basic) => format!("shuffles.ShuffleConvs_{stage}.ShuffleUnit{stage}_{basic}"),
    },
};

/// The fields of our batch norm and PyTorch's names for them.
const NORM: [(&str, &str); 4] = [
    ("gamma", "weight"),
    ("beta", "bias"),
    ("running_mean", "running_mean"),
    ("running_var", "running_var"),
];

/// Every parameter and running statistic of a network, from the stem to the classifier.
pub fn names(config: &ModelConfig) -> Vec<Name> {
    let table = match config.layout {
        Layout::Standard => &TORCHVISION,
        Layout::Seed => &LISTING,
    };
    let mut names = conv_norm("", "", &table.stem);
    for (stage, &repeats) in config.repeats.iter().enumerate() {
        for unit in 0..=repeats {
            let (path, modules) = match unit.checked_sub(1) {
                None => (format!("stages.{stage}.downsample."), &table.downsample[..]),
                Some(basic) => (format!("stages.{stage}.units.{basic}."), &table.basic[..]),
            };
            let file = (table.unit)(stage, unit) + ".";
            names.extend(modules.iter().flat_map(|t| conv_norm(&path, &file, t)));
            if config.squeeze_excitation {
                names.extend(squeeze_excitation(&path, &file, table.squeeze_excitation));
            }
        }
    }
    names.extend(conv_norm("", "", &table.last));
    names.extend(["weight", "bias"].map(|leaf| Name {
        path: format!("classifier.{leaf}"),
        file: format!("fc.{leaf}"),
    }));
    names
}

/// The names of a unit's squeeze-and-excitation. The numbers count the entries of the `Sequential`, in
/// which the pooling is 0 and the ReLU 3.
fn squeeze_excitation(path: &str, file: &str, module: &str) -> Vec<Name> {
    let ours = "right.squeeze_excitation";
    let (conv, norm) = (format!("{module}.1"), format!("{module}.2"));
    let mut names = conv_norm(path, file, &(&format!("{ours}.squeeze"), &conv, &norm));
    names.push(Name {
        path: format!("{path}{ours}.excite.weight"),
        file: format!("{file}{module}.4.weight"),
    });
    names
}

/// The names of the parameters of one convolution and its batch norm.
fn conv_norm(path: &str, file: &str, (ours, conv, norm): &Triple<'_>) -> Vec<Name> {
    let name = |our_leaf: &str, module: &str, leaf: &str| Name {
        path: format!("{path}{ours}.{our_leaf}"),
        file: format!("{file}{module}.{leaf}"),
    };
    let mut names = vec![name("conv.weight", conv, "weight")];
    names.extend(NORM.map(|(our_leaf, leaf)| name(&format!("norm.{our_leaf}"), norm, leaf)));
    names
}
