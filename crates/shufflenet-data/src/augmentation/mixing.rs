//! Mixing of pairs of images in a batch: mixup (Zhang et al., 2017) and cutmix (Yun et al., 2019), as in
//! torchvision's `MixUp` and `CutMix`. Every image is paired with the one before it (the first with the
//! last). One share `s` is drawn for the whole batch from Beta(alpha, alpha). Mixup adds `s` of an image
//! and `1 - s` of the other; cutmix replaces a box of about `1 - s` of the area by the other's. Labels are
//! mixed in the same shares. All draws are a function of (seed, epoch, number of the batch).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::random::{Purpose, below, beta, fraction, stream};
use crate::{DataError, ImageShape};

/// Mixing of pairs of images. If both `mixup` and `cutmix` are on, each batch uses one of them, with equal
/// probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mixing {
    /// Alpha of mixup's Beta distribution, 0.01 to 4. 0: no mixup.
    pub mixup: f64,
    /// Alpha of cutmix's Beta distribution, 0.01 to 4. 0: no cutmix.
    pub cutmix: f64,
    /// Probability that a batch is mixed, 0 to 1.
    pub probability: f64,
    /// The last epoch with mixing. Unset: all epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_epoch: Option<u64>,
}

impl Default for Mixing {
    fn default() -> Self {
        Self {
            mixup: 0.2,
            cutmix: 1.0,
            probability: 1.0,
            until_epoch: None,
        }
    }
}

/// The labels and the share that were mixed into the images of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// For each image, the label of the image that was mixed into it.
    pub labels: Vec<u16>,
    /// Share of an image's original label, 0 to 1.
    pub share: f64,
}

impl Mixing {
    pub(super) fn check(&self) -> Result<(), DataError> {
        let refuse = |key: &str, found: f64, accepted: &str| {
            let key = format!("data.augmentation.mixing.{key}");
            Err(DataError::value(key, found.to_string(), accepted))
        };
        for (key, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            // Shares for a smaller alpha are practically 0 or 1.
            if alpha != 0.0 && !(0.01..=4.0).contains(&alpha) {
                return refuse(key, alpha, "0, or a number from 0.01 to 4");
            }
        }
        if self.mixup == 0.0 && self.cutmix == 0.0 {
            return refuse("mixup", 0.0, "a positive number here or at cutmix");
        }
        match (0.0..=1.0).contains(&self.probability) {
            true => Ok(()),
            false => refuse("probability", self.probability, "a number from 0 to 1"),
        }
    }

    /// Mixes a batch with the configured probability. `pixels` are N x C x H x W. `None`: the batch is unchanged.
    pub(crate) fn apply(
        &self,
        pixels: &mut [f32],
        labels: &[u16],
        shape: ImageShape,
        (seed, epoch, batch): (u64, u64, u64),
    ) -> Option<Mix> {
        let over = self.until_epoch.is_some_and(|last| epoch > last);
        if over || labels.is_empty() {
            return None;
        }
        let mut random = stream(seed, Purpose::Mixing, epoch, batch);
        if fraction(&mut random) >= self.probability {
            return None;
        }
        let cuts = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (true, true) => below(&mut random, 2) == 1,
            (_, cutmix) => cutmix,
        };
        let share = beta(&mut random, if cuts { self.cutmix } else { self.mixup });
        let share = if cuts {
            let middle = [shape.width, shape.height].map(|side| below(&mut random, side as u32));
            let (columns, rows) = cutmix_box(share, middle, shape);
            cutmix(pixels, shape, &columns, &rows);
            1.0 - (columns.len() * rows.len()) as f64 / shape.plane() as f64
        } else {
            mixup(pixels, shape, share);
            share
        };
        let mut partners = labels.to_vec();
        partners.rotate_right(1);
        Some(Mix {
            labels: partners,
            share,
        })
    }
}

/// Columns and rows of the box around `middle` (x, y); outside the box about `share` of the area remains.
pub fn cutmix_box(share: f64, middle: [u32; 2], shape: ImageShape) -> (Range<usize>, Range<usize>) {
    let half = 0.5 * (1.0 - share).max(0.0).sqrt();
    let range = |middle: u32, side: usize| {
        let (middle, half) = (middle as usize, (half * side as f64) as usize);
        middle.saturating_sub(half)..(middle + half).min(side)
    };
    (
        range(middle[0], shape.width),
        range(middle[1], shape.height),
    )
}

/// Replaces every image by `share` of it plus `1 - share` of the image before it.
pub fn mixup(pixels: &mut [f32], shape: ImageShape, share: f64) {
    let (own, other) = (share as f32, (1.0 - share) as f32);
    with_previous(pixels, shape, |image, previous| {
        for (pixel, &previous) in image.iter_mut().zip(previous) {
            *pixel = *pixel * own + previous * other;
        }
    });
}

/// Replaces a box of every image by the same box of the image before it.
pub fn cutmix(pixels: &mut [f32], shape: ImageShape, columns: &Range<usize>, rows: &Range<usize>) {
    with_previous(pixels, shape, |image, previous| {
        let planes = image.chunks_exact_mut(shape.plane());
        for (plane, previous) in planes.zip(previous.chunks_exact(shape.plane())) {
            for row in rows.clone() {
                let part = row * shape.width + columns.start..row * shape.width + columns.end;
                plane[part.clone()].copy_from_slice(&previous[part]);
            }
        }
    });
}

/// Calls `change` with every image and the original of the image before it; for the first image, the last
/// one.
fn with_previous(pixels: &mut [f32], shape: ImageShape, change: impl Fn(&mut [f32], &[f32])) {
    let size = shape.values();
    let Some(start) = pixels.len().checked_sub(size) else {
        return;
    };
    let last = pixels[start..].to_vec();
    for image in (1..pixels.len() / size).rev() {
        let (before, after) = pixels.split_at_mut(image * size);
        change(&mut after[..size], &before[(image - 1) * size..]);
    }
    change(&mut pixels[..size], &last);
}
