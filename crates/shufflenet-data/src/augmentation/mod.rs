//! Random changes to training images.
//!
//! Each file holds one kind of change, with its paper and its settings. The changes are applied to u8
//! pixels in the order of torchvision's reference recipes: the position of the window and the mirroring
//! (`placement.rs`), colour jitter, an automatic policy (TrivialAugment or RandAugment, with the operations
//! in [`operation`]), normalisation, and last the erasing of a part, whose values become zero. The random
//! numbers of a record are a function of (seed, epoch, record) only. After that, pairs of a batch are mixed
//! ([`mixing`]).
//!
//! `tests/torchvision.rs` compares every operation with torchvision's at every magnitude.

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
pub use jitter::{ColorChange, Jitter};
pub use mixing::{Mix, Mixing};
pub use placement::Padding;
pub use policy::{RandAugment, TrivialAugment};

use placement::{Placement, render};

/// Random changes to training images. By default there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Random crop: number of pixels added on each side before cropping back to the original size. 0: no
    /// crop.
    pub crop_padding: usize,
    /// Content of the pixels that `crop_padding` adds: `zero` is black, `reflect` mirrors the image at its
    /// edge.
    pub padding: Padding,
    /// Whether to mirror images left to right with probability 1/2.
    pub flip: bool,
    /// With `flip`: whether to alternate the side that an image shows. The side of the first epoch is
    /// random, and every following epoch shows the other one, so two epochs show both sides of every image
    /// (Jordan, 2024, airbench).
    pub alternating_flip: bool,
    /// Encoded images: whether to show a random window instead of the centre crop, as torchvision's
    /// `RandomResizedCrop` does. Meant for photographs.
    pub random_resized_crop: bool,
    /// Random changes of brightness, contrast, saturation and hue. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<Jitter>,
    /// One random operation of random strength per image. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trivial_augment: Option<TrivialAugment>,
    /// Several random operations of one strength per image. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// Side of a square that is erased at a random position (cutout, DeVries & Taylor, 2017), in pixels. 0:
    /// none.
    pub cutout: usize,
    /// Erases a random rectangle. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<Erasing>,
    /// Mixes pairs of images and their labels. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixing: Option<Mixing>,
}

impl Augmentation {
    /// Checks that the settings suit the images of `dataset`: the padding is smaller than either side, and
    /// random windows are used only with encoded images, which are larger than the network's input.
    ///
    /// # Errors
    /// [`DataError::Value`] for a setting that does not suit the images.
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
        self.check_values()
    }

    /// Checks what is the same for all images.
    ///
    /// # Errors
    /// [`DataError::Value`] for a value out of range.
    pub fn check_values(&self) -> Result<(), DataError> {
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

    /// Writes record `sample` of `epoch` to `out`, C x H x W: changed by its random draws and normalised by
    /// each channel's table.
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

    /// Whether any setting changes pixel values, rather than only moving pixels.
    fn changes_colors(&self) -> bool {
        self.color_jitter.is_some() || self.trivial_augment.is_some() || self.rand_augment.is_some()
    }
}
