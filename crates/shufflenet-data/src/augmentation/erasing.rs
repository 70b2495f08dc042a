//! Erasing parts of an image: random erasing (Zhong et al., 2017) with torchvision's draws, and cutout
//! (DeVries & Taylor, 2017). As usual, both run after normalisation, where zero is the mean colour.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::random::{below, between, fraction};
use crate::{DataError, ImageShape};

/// Erases a rectangle of random size and position, as torchvision's `RandomErasing` does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Erasing {
    /// Probability that a rectangle is erased, 0 to 1.
    pub probability: f64,
    /// Smallest and largest fraction of the image's area that is erased, above 0 and at most 1.
    pub area: [f64; 2],
    /// Smallest and largest ratio of the rectangle's height to its width, above 0.
    pub ratio: [f64; 2],
}

impl Default for Erasing {
    fn default() -> Self {
        Self {
            probability: 0.5,
            area: [0.02, 0.33],
            ratio: [0.3, 3.3],
        }
    }
}

impl Erasing {
    pub(super) fn check(&self) -> Result<(), DataError> {
        let refuse = |key: &str, found: String, accepted: &str| {
            let key = format!("data.augmentation.random_erasing.{key}");
            Err(DataError::value(key, found, accepted))
        };
        if !(0.0..=1.0).contains(&self.probability) {
            return refuse("probability", self.probability.to_string(), "0 to 1");
        }
        let [least, most] = self.area;
        if !(0.0 < least && least <= most && most <= 1.0) {
            let accepted = "two fractions of the area, above 0, at most 1, the smaller first";
            return refuse("area", format!("{:?}", self.area), accepted);
        }
        let [least, most] = self.ratio;
        if !(0.0 < least && least <= most && most.is_finite()) {
            let accepted = "two positive numbers, the smaller first";
            return refuse("ratio", format!("{:?}", self.ratio), accepted);
        }
        Ok(())
    }

    pub(super) fn apply(&self, image: &mut [f32], shape: ImageShape, random: &mut ChaCha8Rng) {
        if fraction(random) >= self.probability {
            return;
        }
        let area = shape.plane() as f64;
        let [narrow, wide] = self.ratio.map(f64::ln);
        // Ten attempts, as in torchvision; the rectangle has to be smaller than the image.
        for _ in 0..10 {
            let part = area * between(random, self.area[0], self.area[1]);
            let ratio = between(random, narrow, wide).exp();
            let height = (part * ratio).sqrt().round_ties_even() as usize;
            let width = (part / ratio).sqrt().round_ties_even() as usize;
            if height < shape.height && width < shape.width {
                let top = below(random, (shape.height - height + 1) as u32) as usize;
                let left = below(random, (shape.width - width + 1) as u32) as usize;
                erase(image, shape, top..top + height, left..left + width);
                return;
            }
        }
    }
}

/// Erases a square of side `side` around a random pixel, clipped to the image.
pub(super) fn cutout(image: &mut [f32], shape: ImageShape, side: usize, random: &mut ChaCha8Rng) {
    let mut range = |length: usize| {
        let middle = below(random, length as u32) as usize;
        let start = middle.saturating_sub(side / 2);
        start..(middle + side - side / 2).min(length)
    };
    let (rows, columns) = (range(shape.height), range(shape.width));
    erase(image, shape, rows, columns);
}

fn erase(
    image: &mut [f32],
    shape: ImageShape,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
) {
    for plane in image.chunks_exact_mut(shape.plane()) {
        let all = plane.chunks_exact_mut(shape.width);
        for row in all.skip(rows.start).take(rows.len()) {
            row[columns.clone()].fill(0.0);
        }
    }
}
