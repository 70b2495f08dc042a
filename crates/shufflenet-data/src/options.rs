//! What a configuration can say about reading a set, besides its format and place.

use serde::{Deserialize, Serialize};

use crate::DataError;

/// How a set is read. Each format takes what concerns it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Encoded images: the side of the square that the network sees, in pixels.
    pub size: u32,
    /// Encoded images: the shorter side before the centre crop of evaluation. Unset: `size * 8 / 7`, as
    /// in 256 before 224.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<u32>,
    /// Encoded images: what to do about one that cannot be decoded.
    pub on_bad_image: OnBadImage,
    /// CIFAR-100: which of its two labels.
    pub labels: Labels,
    /// Sets that nobody has divided into training and test images: the fraction of each class that
    /// becomes the test part. 0: a set without a division is refused.
    pub test_fraction: f64,
    /// Seed of that division.
    pub split_seed: u64,
    /// The synthetic set.
    pub synthetic: SyntheticOptions,
    /// Encoded images become RGB (3) or grey (1): what the network takes, so no key of its own.
    #[serde(skip, default = "rgb")]
    pub channels: usize,
}

fn rgb() -> usize {
    3
}

impl Default for Options {
    fn default() -> Self {
        Self {
            size: 224,
            resize: None,
            on_bad_image: OnBadImage::Error,
            labels: Labels::Fine,
            test_fraction: 0.0,
            split_seed: 0,
            synthetic: SyntheticOptions::default(),
            channels: rgb(),
        }
    }
}

/// What to do about an image that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadImage {
    /// Stop, and name it.
    Error,
    /// Decode every image once when the set is opened, and leave out the bad ones, by name.
    Skip,
}

/// CIFAR-100's two labels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// 100 classes.
    Fine,
    /// 20 superclasses.
    Coarse,
}

/// Size of the synthetic set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticOptions {
    /// Number of classes.
    pub classes: u16,
    /// Training images.
    pub train: u32,
    /// Test images.
    pub test: u32,
    /// Height and width.
    pub size: u32,
    /// Seed of the noise.
    pub seed: u64,
}

impl Default for SyntheticOptions {
    fn default() -> Self {
        Self {
            classes: 10,
            train: 1000,
            test: 200,
            size: 32,
            seed: 0,
        }
    }
}

/// The largest square that images are brought to, and the largest shorter side before that.
const MOST_PIXELS: u32 = 4096;

impl Options {
    /// The shorter side before the centre crop.
    pub fn resize(&self) -> u32 {
        self.resize.unwrap_or(self.size.saturating_mul(8) / 7)
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`DataError::Value`] with the key, what was found and what is accepted.
    pub fn check(&self) -> Result<(), DataError> {
        let refuse = |key: &str, found: String, expected: String| {
            Err(DataError::value(
                format!("data.options.{key}"),
                found,
                expected,
            ))
        };
        if !(1..=MOST_PIXELS).contains(&self.size) {
            return refuse(
                "size",
                self.size.to_string(),
                format!("1 to {MOST_PIXELS} pixels"),
            );
        }
        let resize = self.resize();
        if !(self.size..=2 * MOST_PIXELS).contains(&resize) {
            let expected = format!("{} (the size) to {}", self.size, 2 * MOST_PIXELS);
            return refuse("resize", resize.to_string(), expected);
        }
        if !(0.0..1.0).contains(&self.test_fraction) {
            let expected = "a fraction from 0 to below 1".into();
            return refuse("test_fraction", self.test_fraction.to_string(), expected);
        }
        Ok(())
    }

    /// Refuses channels that encoded images cannot be brought to.
    pub(crate) fn check_channels(&self) -> Result<(), DataError> {
        match self.channels {
            1 | 3 => Ok(()),
            other => Err(DataError::value(
                "the number of channels",
                other.to_string(),
                "3 (RGB) or 1 (grey)",
            )),
        }
    }
}
