//! Settings for reading a data set, besides its format and path.

use serde::{Deserialize, Serialize};
use shufflenet_image::MOST_SIDE;

use crate::DataError;

/// How the data set is read. Each format uses the keys that apply to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Encoded images: side of the square that the network sees, in pixels, 1 to 4096.
    pub size: u32,
    /// Encoded images: length of the shorter side before the centre crop of evaluation, in pixels, from
    /// `size` to 8192. Unset: `size * 8 / 7`, for example 256 for 224.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<u32>,
    /// Encoded images: what to do about the bad images that `data.check` finds. `error` stops and names the first;
    /// `skip` leaves them out, by name. A bad image that `data.check` does not find stops the run when it is read.
    pub on_bad_image: OnBadImage,
    /// CIFAR-100: which of an image's two labels is used. `fine` has 100 classes, `coarse` 20 superclasses.
    pub labels: Labels,
    /// Sets without a division into training and test images: fraction of the images that becomes the test part, 0 to
    /// below 1. The division is stratified: each class gives this fraction of its images. 0: there is no
    /// test part, and `data.validation` must choose the best epoch.
    pub test_fraction: f64,
    /// Seed of the division by `test_fraction`.
    pub split_seed: u64,
    /// IDX: which of several sets in the folder, by the text before `train` in the names of its files, for example
    /// `emnist-letters`. Unset: the folder holds one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// IDX: whether to exchange rows and columns of the images. EMNIST stores images column
    /// by column; without this they are rotated and mirrored.
    pub transposed: bool,
    /// Size and seed of the synthetic set.
    pub synthetic: SyntheticOptions,
    /// Channels that encoded images are converted to: 3 (RGB) or 1 (grey). It is no configuration key,
    /// because the network determines it.
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
            prefix: None,
            transposed: false,
            synthetic: SyntheticOptions::default(),
            channels: rgb(),
        }
    }
}

/// What to do about an image that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadImage {
    /// Stop with an error that names the image.
    Error,
    /// Leave out the bad images, by name.
    Skip,
}

/// The two kinds of labels of CIFAR-100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// 100 classes.
    Fine,
    /// 20 superclasses.
    Coarse,
}

/// Size and seed of the synthetic data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticOptions {
    /// Number of classes, 1 or more.
    pub classes: u16,
    /// Number of training images, 1 or more.
    pub train: u32,
    /// Number of test images, 1 or more.
    pub test: u32,
    /// Height and width of the images, in pixels.
    pub size: u32,
    /// Seed of the images' random noise.
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

impl Options {
    /// Length of the shorter side before the centre crop: the configured value, or `size * 8 / 7`.
    pub fn resize(&self) -> u32 {
        self.resize.unwrap_or(self.size.saturating_mul(8) / 7)
    }

    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// [`DataError::Value`] with the key, the value found and the values accepted.
    pub fn check(&self) -> Result<(), DataError> {
        let refuse = |key: &str, found: String, expected: String| {
            Err(DataError::value(
                format!("data.options.{key}"),
                found,
                expected,
            ))
        };
        if !(1..=MOST_SIDE).contains(&self.size) {
            return refuse(
                "size",
                self.size.to_string(),
                format!("1 to {MOST_SIDE} pixels"),
            );
        }
        let resize = self.resize();
        if !(self.size..=2 * MOST_SIDE).contains(&resize) {
            let expected = format!("{} (the size) to {}", self.size, 2 * MOST_SIDE);
            return refuse("resize", resize.to_string(), expected);
        }
        if !(0.0..1.0).contains(&self.test_fraction) {
            let expected = "a fraction from 0 to below 1".into();
            return refuse("test_fraction", self.test_fraction.to_string(), expected);
        }
        Ok(())
    }

    /// Refuses a number of channels that encoded images cannot be converted to.
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
