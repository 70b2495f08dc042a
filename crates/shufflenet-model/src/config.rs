//! The configuration of a network: layout, width, stem, input channels, classes and switches.
//!
//! ShuffleNetV2 (Ma et al., 2018, [Practical Guidelines for Efficient CNN Architecture
//! Design](https://arxiv.org/abs/1807.11164)) is a table of widths over a fixed plan: a stem, stages (three in
//! the paper) that each halve the map, a last 1x1 convolution, global average pooling, a linear classifier.
//! [`ModelConfig`] picks the row of the table ([`Scale::widths`]) and the variant of the plan.
//! [`crate::plan`] derives the channels of each unit and refuses what cannot be built.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// Channels of the stem, of each stage, and of the last convolution. In configuration files a list:
/// `[24, 48, 96, 192, 1024]` has three stages.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<usize>", into = "Vec<usize>")]
pub struct Widths {
    /// Channels of the stem.
    pub stem: usize,
    /// Channels of each stage.
    pub stages: Vec<usize>,
    /// Channels of the last convolution.
    pub last: usize,
}

/// The published variants of the network. They differ in their stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// The layout of the paper (table 5) and of torchvision: a stage is one downsampling unit that also
    /// widens, followed by units without a residual sum (3, 7 and 3 in the three stages).
    #[default]
    Standard,
    /// The layout of the network that this project started from: the downsampling unit doubles the channels of its input, the first
    /// of the following 3, 7 and 3 units widens, and units of equal widths add the right half's input.
    Seed,
}

/// Width multiplier, a row of the paper's table 5. Configuration files write it as a number: `0.5`, `1.0`,
/// `1.5` or `2.0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub enum Scale {
    /// 0.5x
    Half,
    /// 1x
    #[default]
    One,
    /// 1.5x
    OneAndHalf,
    /// 2x
    Two,
}

/// The layers that turn the image into the first stage's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 3x3 convolution of stride 2, 3x3 max pooling of stride 2 padded by 1: 224 to 56.
    Imagenet,
    /// 3x3 convolution of stride 2, 3x3 max pooling of stride 2 without padding: 224 to 55.
    Seed,
    /// 3x3 convolution of stride 1 and no pooling: 32 stays 32. Published CIFAR results use this stem.
    Cifar,
}

/// The network, a ShuffleNetV2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Variant of the stages: `standard` is the paper's and torchvision's, `seed` that of
    /// the network that this project started from.
    pub layout: Layout,
    /// Width multiplier, a row of the paper's table 5: `0.5`, `1.0`, `1.5` or `2.0`.
    pub scale: Scale,
    /// Custom widths instead of the row of `scale`: channels of the stem, of each stage and of the last convolution,
    /// 1 to 8192 each; those of a stage must be even. `[24, 48, 96, 192, 1024]` has three stages; 1 to 8 are accepted.
    /// Unset: the row of `scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub widths: Option<Widths>,
    /// Number of stride-1 units in each stage, 0 to 64, a number per stage. They come after the stage's downsampling
    /// unit, which the paper's table 5 counts too (4, 8, 4).
    pub repeats: Vec<usize>,
    /// Layers before the first stage: a 3x3 convolution of stride 2 and max pooling, padded (`imagenet`) or
    /// not (`seed`), or a 3x3 convolution of stride 1 without pooling (`cifar`). Unset: `imagenet` for the
    /// layout `standard`, `seed` for the layout `seed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem: Option<Stem>,
    /// Channels of the images, 1 to 4096. Unset: the channels of the data set, or 3 without a data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_channels: Option<usize>,
    /// Number of classes, 1 to 1000000. Unset: the number in the data set, or 10 without a data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Fraction of a stride-1 unit's input channels that its left branch passes on unchanged, above 0 and
    /// below 1; rounded to whole channels, ties to even. The paper calls it c'/c.
    pub split_ratio: f64,
    /// Whether stride-1 units of equal widths add the right branch's input to its output, as the paper's
    /// appendix draws it. Unset: `false` for the layout `standard`, `true` for the layout `seed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual: Option<bool>,
    /// Whether every right branch ends with a squeeze-and-excitation block ([`crate::squeeze_excitation`]).
    pub squeeze_excitation: bool,
    /// Probability that training drops a pooled feature before the classifier, 0 to below 1.
    pub dropout: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            layout: Layout::Standard,
            scale: Scale::One,
            widths: None,
            repeats: vec![3, 7, 3],
            stem: None,
            input_channels: None,
            classes: None,
            split_ratio: 0.5,
            residual: None,
            squeeze_excitation: false,
            dropout: 0.0,
        }
    }
}

impl ModelConfig {
    /// The configured stem, or the layout's default: `imagenet` for the layout `standard`, `seed` for `seed`.
    pub fn stem(&self) -> Stem {
        self.stem.unwrap_or(match self.layout {
            Layout::Standard => Stem::Imagenet,
            Layout::Seed => Stem::Seed,
        })
    }

    /// Channels of the images: the configured number, or 3.
    pub fn input_channels(&self) -> usize {
        self.input_channels.unwrap_or(3)
    }

    /// Number of classes: the configured number, or 10.
    pub fn classes(&self) -> usize {
        self.classes.unwrap_or(10)
    }

    /// The custom widths if configured, or the row of the table.
    pub fn widths(&self) -> Widths {
        let row = || self.scale.widths();
        self.widths.clone().unwrap_or_else(row)
    }

    /// Whether units of equal widths add the right half's input: the configured value, or the layout's
    /// default.
    pub fn residual(&self) -> bool {
        self.residual.unwrap_or(match self.layout {
            Layout::Standard => false,
            Layout::Seed => true,
        })
    }
}

impl Scale {
    /// Every width, ascending.
    pub const ALL: [Self; 4] = [Self::Half, Self::One, Self::OneAndHalf, Self::Two];

    /// Channels of each part, from the paper's table 5.
    pub fn widths(self) -> Widths {
        let row = match self {
            Self::Half => [24, 48, 96, 192, 1024],
            Self::One => [24, 116, 232, 464, 1024],
            Self::OneAndHalf => [24, 176, 352, 704, 1024],
            Self::Two => [24, 244, 488, 976, 2048],
        };
        row.into()
    }

    /// The multiplier as a number.
    pub const fn factor(self) -> f64 {
        match self {
            Self::Half => 0.5,
            Self::One => 1.0,
            Self::OneAndHalf => 1.5,
            Self::Two => 2.0,
        }
    }
}

impl From<[usize; 5]> for Widths {
    /// Three stages, as in the paper.
    fn from([stem, stages @ .., last]: [usize; 5]) -> Self {
        Self {
            stem,
            stages: stages.into(),
            last,
        }
    }
}

impl TryFrom<Vec<usize>> for Widths {
    type Error = ModelError;

    fn try_from(widths: Vec<usize>) -> Result<Self, ModelError> {
        match widths.as_slice() {
            &[stem, ref stages @ .., last] if !stages.is_empty() => Ok(Self {
                stem,
                stages: stages.to_vec(),
                last,
            }),
            _ => Err(ModelError::TooFewWidths(widths)),
        }
    }
}

impl From<Widths> for Vec<usize> {
    fn from(widths: Widths) -> Self {
        let Widths { stem, stages, last } = widths;
        [vec![stem], stages, vec![last]].concat()
    }
}

/// As in a configuration file: `[24, 48, 96, 192, 1024]`.
impl fmt::Debug for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(Vec::from(self.clone())).finish()
    }
}

impl TryFrom<f64> for Scale {
    type Error = ModelError;

    fn try_from(factor: f64) -> Result<Self, ModelError> {
        Self::ALL
            .into_iter()
            .find(|scale| scale.factor() == factor)
            .ok_or(ModelError::Scale(factor))
    }
}

impl From<Scale> for f64 {
    fn from(scale: Scale) -> Self {
        scale.factor()
    }
}

impl Stem {
    /// Height and width of the images that the stem was designed for.
    pub const fn customary_size(self) -> usize {
        match self {
            Self::Imagenet | Self::Seed => 224,
            Self::Cifar => 32,
        }
    }

    /// Stride of the convolution, which is 3x3 and padded by 1.
    pub(crate) const fn stride(self) -> usize {
        match self {
            Self::Imagenet | Self::Seed => 2,
            Self::Cifar => 1,
        }
    }

    /// Padding of the 3x3 max pooling of stride 2. `None` for a stem without pooling.
    pub(crate) const fn pool_padding(self) -> Option<usize> {
        match self {
            Self::Imagenet => Some(1),
            Self::Seed => Some(0),
            Self::Cifar => None,
        }
    }

    pub(crate) const fn smallest_input(self) -> usize {
        match self {
            // The unpadded 3x3 pooling needs a map of size 3, so an image of size 5.
            Self::Seed => 5,
            Self::Imagenet | Self::Cifar => 1,
        }
    }

    /// The map's size after the stem. Valid only for sizes of at least `smallest_input`.
    pub(crate) const fn output(self, size: usize) -> usize {
        match self {
            Self::Cifar => size,
            Self::Imagenet => halved(halved(size)),
            Self::Seed => (halved(size) - 3) / 2 + 1,
        }
    }
}

/// The size after a 3x3 window of stride 2, padded by 1: `(size + 2 - 3) / 2 + 1`.
pub(crate) const fn halved(size: usize) -> usize {
    size.div_ceil(2)
}
