//! Random brightness, contrast, saturation and hue, in random order: torchvision's `ColorJitter`.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::color;
use crate::random::{below, between};
use crate::{DataError, ImageShape};

/// How far each property of the colours may change. By default none changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jitter {
    /// Brightness: the factor is drawn from `max(0, 1 - brightness)` to `1 + brightness`, 0 or more. 0:
    /// unchanged.
    pub brightness: f64,
    /// Contrast: the factor is drawn from `max(0, 1 - contrast)` to `1 + contrast`, 0 or more. 0:
    /// unchanged.
    pub contrast: f64,
    /// Saturation: the factor is drawn from `max(0, 1 - saturation)` to `1 + saturation`, 0 or more. 0:
    /// unchanged.
    pub saturation: f64,
    /// Hue: largest rotation of the colour circle in either direction, 0 to 0.5 of a full turn. 0:
    /// unchanged.
    pub hue: f64,
}

impl Jitter {
    pub(super) fn check(&self) -> Result<(), DataError> {
        let refuse = |key: &str, found: f64, accepted: &str| {
            let key = format!("data.augmentation.color_jitter.{key}");
            Err(DataError::value(key, found.to_string(), accepted))
        };
        for (key, value) in [
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value, "a number from 0");
            }
        }
        match (0.0..=0.5).contains(&self.hue) {
            true => Ok(()),
            false => refuse("hue", self.hue, "a number from 0 to 0.5"),
        }
    }

    pub(super) fn apply(&self, image: &mut [u8], shape: ImageShape, random: &mut ChaCha8Rng) {
        let mut order = [0, 1, 2, 3];
        for last in (1..order.len()).rev() {
            order.swap(last, below(random, last as u32 + 1) as usize);
        }
        let mut factor = |spread: f64| between(random, (1.0 - spread).max(0.0), 1.0 + spread);
        let factors = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let turn = between(random, -self.hue, self.hue);
        let [brightness, contrast, saturation] = factors;
        let changes = [
            (self.brightness, ColorChange::Brightness(brightness)),
            (self.contrast, ColorChange::Contrast(contrast)),
            (self.saturation, ColorChange::Saturation(saturation)),
            (self.hue, ColorChange::Hue(turn)),
        ];
        for place in order {
            let (spread, change) = changes[place];
            if spread > 0.0 {
                change.apply(image, shape);
            }
        }
    }
}

/// One change of an image's colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ColorChange {
    /// Scales the brightness by a factor.
    Brightness(f64),
    /// Scales the contrast by a factor.
    Contrast(f64),
    /// Scales the saturation by a factor.
    Saturation(f64),
    /// Rotates the hue, by a part of the full circle from -0.5 to 0.5.
    Hue(f64),
}

impl ColorChange {
    /// Applies the change to `image`, C x H x W.
    pub fn apply(self, image: &mut [u8], shape: ImageShape) {
        match self {
            Self::Brightness(factor) => color::brightness(image, factor),
            Self::Contrast(factor) => color::contrast(image, shape, factor),
            Self::Saturation(factor) => color::saturation(image, shape, factor),
            Self::Hue(turn) => color::hue(image, shape, turn),
        }
    }
}
