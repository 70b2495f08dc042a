//! Random changes to training images.
//!
//! Each kind is a file: what it does, from which paper, with its settings. They are applied to u8 pixels in
//! the order of torchvision's reference recipes: where the window lies and whether it is mirrored
//! (`placement.rs`), colour jitter, an automatic policy (TrivialAugment or RandAugment, of the operations in
//! [`operation`]), then normalisation, and a part erased last, in the colour that normalises to zero. What
//! is drawn for a record is a function of (seed, epoch, record) alone. Pairs of a batch are mixed after
//! that ([`mixing`]).
//!
//! Held to torchvision, operation by operation and magnitude by magnitude, by `tests/torchvision.rs`.

mod color;
mod erasing;
mod jitter;
pub mod mixing;
pub mod operation;
mod placement;
mod policy;
mod warp;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::random::{Purpose, stream};
use crate::{DataError, Dataset, ImageShape};

pub use erasing::Erasing;
pub use jitter::Jitter;
pub use mixing::{Mix, Mixing};
pub use placement::Padding;
pub use policy::{RandAugment, TrivialAugment};

use placement::{Placement, render};

/// What may happen to a training image. Default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Pixels added on each side before cropping back to size; 0: no crop.
    pub crop_padding: usize,
    /// What is added: black, or the image's own edge, mirrored.
    pub padding: Padding,
    /// Mirror left and right with probability 1/2.
    pub flip: bool,
    /// With `flip`: draw for each image once, in the first epoch, and mirror it in every second epoch from
    /// then on, so that two epochs show both sides of every image (Jordan, 2024, airbench).
    pub alternating_flip: bool,
    /// Show a random window of an encoded image instead of its middle: torchvision's
    /// `RandomResizedCrop`, for photographs.
    pub random_resized_crop: bool,
    /// Brightness, contrast, saturation and hue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<Jitter>,
    /// One random operation of a random strength.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trivial_augment: Option<TrivialAugment>,
    /// Some random operations of one strength.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// Side of a square that is erased at a random place (DeVries & Taylor, 2017), in pixels; 0: none.
    pub cutout: usize,
    /// A random rectangle that is erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<Erasing>,
    /// Pairs of images mixed, their labels with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixing: Option<Mixing>,
}

impl Augmentation {
    /// Whether it makes sense for the images of `dataset`: the padding is smaller than either side, and
    /// windows are of encoded images, which are larger than what the network sees.
    ///
    /// # Errors
    /// [`DataError::Value`] otherwise.
    pub fn check(&self, dataset: &Dataset) -> Result<(), DataError> {
        let shape = dataset.shape;
        if self.random_resized_crop && !dataset.is_encoded() {
            return Err(DataError::value(
                "data.augmentation.random_resized_crop",
                "true",
                format!(
                    "false for {}, whose images are of one size; crop_padding shifts those",
                    dataset.name
                ),
            ));
        }
        let side = shape.height.min(shape.width);
        if self.crop_padding >= side {
            return Err(DataError::value(
                "data.augmentation.crop_padding",
                self.crop_padding.to_string(),
                format!("less than {side}, images are {shape}"),
            ));
        }
        if self.alternating_flip && !self.flip {
            let accepted = "false where data.augmentation.flip is";
            return Err(DataError::value(
                "data.augmentation.alternating_flip",
                "true",
                accepted,
            ));
        }
        if self.cutout > side {
            let accepted = format!("at most {side}, images are {shape}");
            let found = self.cutout.to_string();
            return Err(DataError::value(
                "data.augmentation.cutout",
                found,
                accepted,
            ));
        }
        if let Some(jitter) = &self.color_jitter {
            jitter.check()?;
        }
        if let Some(policy) = &self.rand_augment {
            policy.check()?;
        }
        if let Some(erasing) = &self.random_erasing {
            erasing.check()?;
        }
        self.mixing.as_ref().map_or(Ok(()), Mixing::check)
    }

    /// Writes record `sample` of `epoch` to `out`, C x H x W, through each channel's table: changed as its
    /// draws say.
    pub(crate) fn apply(
        &self,
        image: &[u8],
        shape: ImageShape,
        (seed, epoch, sample): (u64, u64, u32),
        tables: &[[f32; 256]],
        out: &mut [f32],
    ) {
        let random = |purpose| stream(seed, purpose, epoch, sample.into());
        let mut place = self.draw(seed, epoch, sample);
        let mut image = Cow::Borrowed(image);
        if self.changes_colors() {
            let mut placed = vec![0; image.len()];
            let identity = vec![std::array::from_fn(|value| value as u8); shape.channels];
            render(&image, shape, place, self.padding, &identity, &mut placed);
            place = Placement::UNCHANGED;
            if let Some(jitter) = &self.color_jitter {
                jitter.apply(&mut placed, shape, &mut random(Purpose::Jitter));
            }
            let policy = &mut random(Purpose::Policy);
            if let Some(trivial) = &self.trivial_augment {
                trivial.apply(&mut placed, shape, policy);
            }
            if let Some(rand) = &self.rand_augment {
                rand.apply(&mut placed, shape, policy);
            }
            image = Cow::Owned(placed);
        }
        render(&image, shape, place, self.padding, tables, out);
        if self.cutout == 0 && self.random_erasing.is_none() {
            return;
        }
        let erasure = &mut random(Purpose::Erasure);
        if self.cutout > 0 {
            erasing::cutout(out, shape, self.cutout, erasure);
        }
        if let Some(erasing) = &self.random_erasing {
            erasing.apply(out, shape, erasure);
        }
    }

    /// Whether more happens to an image's pixels than being moved.
    fn changes_colors(&self) -> bool {
        self.color_jitter.is_some() || self.trivial_augment.is_some() || self.rand_augment.is_some()
    }
}
