//! Which network: layout, width, stem, input channels, classes, and the switches.
//!
//! ShuffleNetV2 (Ma et al., 2018, [Practical Guidelines for Efficient CNN Architecture
//! Design](https://arxiv.org/abs/1807.11164)) is a table of widths over a fixed plan: a stem, three
//! stages that each halve the map, a last 1x1 convolution, global average pooling, a linear
//! classifier. [`ModelConfig`] picks the row of the table ([`Scale::widths`]) and the variant of the
//! plan; what that implies for each unit, and what is refused, is in [`crate::plan`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// Channels: of the stem, of the three stages, of the last convolution.
pub type Widths = [usize; 5];

/// The published variants of the network, which differ in their stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// The paper's (table 5) and torchvision's: a stage is one downsampling unit that also widens,
    /// then 3, 7 and 3 units without a residual sum.
    #[default]
    Standard,
    /// The seed listing's: the downsampling unit doubles its input's channels, the first of the 3, 7
    /// and 3 units after it widens, and units of equal widths add their right half's input.
    Seed,
}

/// Width multiplier, a row of the paper's table 5. In configuration files a number: `0.5`, `1.0`,
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

/// What turns the image into the first stage's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 3x3 convolution of stride 2, 3x3 max pooling of stride 2 padded by 1: 224 to 56.
    Imagenet,
    /// The same with the pooling unpadded: 224 to 55.
    Seed,
    /// 3x3 convolution of stride 1 and no pooling: 32 stays 32. What published CIFAR figures use.
    Cifar,
}

/// A ShuffleNetV2. `Default` is where every default is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// The variant of the stages.
    pub layout: Layout,
    /// The width.
    pub scale: Scale,
    /// Widths of one's own, instead of the row of `scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub widths: Option<Widths>,
    /// Stride-1 units of each stage, behind its downsampling unit (the paper's table 5 counts that
    /// one too: 4, 8, 4).
    pub repeats: [usize; 3],
    /// The stem; without one, the layout's own ([`ModelConfig::stem`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem: Option<Stem>,
    /// Channels of the images.
    pub input_channels: usize,
    /// Classes to tell apart.
    pub classes: usize,
    /// The share of a stride-1 unit's input channels that its left branch passes on unchanged, above
    /// 0 and below 1; rounded to whole channels, ties to even. The paper's c'/c, the listing's
    /// `c_tag`.
    pub split_ratio: f64,
    /// Whether stride-1 units of equal widths add the right branch's input to its output; without a
    /// value, the layout's way ([`ModelConfig::residual`]). The paper draws it in its appendix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual: Option<bool>,
    /// Squeeze-and-excitation at the end of every right branch ([`crate::squeeze_excitation`]).
    pub squeeze_excitation: bool,
    /// The share of pooled features that training drops before the classifier, 0 to below 1.
    pub dropout: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            layout: Layout::Standard,
            scale: Scale::One,
            widths: None,
            repeats: [3, 7, 3],
            stem: None,
            input_channels: 3,
            classes: 10,
            split_ratio: 0.5,
            residual: None,
            squeeze_excitation: false,
            dropout: 0.0,
        }
    }
}

impl ModelConfig {
    /// The configured stem, or the layout's: `imagenet` for the standard layout, `seed` for the seed.
    pub fn stem(&self) -> Stem {
        self.stem.unwrap_or(match self.layout {
            Layout::Standard => Stem::Imagenet,
            Layout::Seed => Stem::Seed,
        })
    }

    /// The widths of one's own, or the row of the table.
    pub fn widths(&self) -> Widths {
        self.widths.unwrap_or(self.scale.widths())
    }

    /// Whether units of equal widths add their right half's input: as configured, or the layout's way.
    pub fn residual(&self) -> bool {
        self.residual.unwrap_or(match self.layout {
            Layout::Standard => false,
            Layout::Seed => true,
        })
    }

    /// The width in words: `scale 0.5`, or `widths [24, 48, 96, 192, 1024]` of one's own.
    pub fn size(&self) -> String {
        match &self.widths {
            None => format!("scale {}", self.scale),
            Some(widths) => format!("widths {widths:?}"),
        }
    }
}

impl Scale {
    /// Every width, ascending.
    pub const ALL: [Self; 4] = [Self::Half, Self::One, Self::OneAndHalf, Self::Two];

    /// Channels of each part: the paper's table 5.
    pub const fn widths(self) -> Widths {
        match self {
            Self::Half => [24, 48, 96, 192, 1024],
            Self::One => [24, 116, 232, 464, 1024],
            Self::OneAndHalf => [24, 176, 352, 704, 1024],
            Self::Two => [24, 244, 488, 976, 2048],
        }
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
    /// Height and width of the images that it was made for.
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

    /// Padding of the 3x3 max pooling of stride 2, where there is one.
    pub(crate) const fn pool_padding(self) -> Option<usize> {
        match self {
            Self::Imagenet => Some(1),
            Self::Seed => Some(0),
            Self::Cifar => None,
        }
    }

    pub(crate) const fn smallest_input(self) -> usize {
        match self {
            // The unpadded 3x3 pooling needs a map of 3, which takes an image of 5.
            Self::Seed => 5,
            Self::Imagenet | Self::Cifar => 1,
        }
    }

    /// The map's size after the stem. Only for sizes of at least `smallest_input`.
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

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Standard => "standard",
            Self::Seed => "seed",
        })
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.factor())
    }
}

/// As in "standard network of scale 0.5 with 10 classes".
impl fmt::Display for ModelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layout, size, classes) = (self.layout, self.size(), self.classes);
        write!(f, "{layout} network of {size} with {classes} classes")
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Imagenet => "imagenet",
            Self::Seed => "seed",
            Self::Cifar => "cifar",
        })
    }
}
