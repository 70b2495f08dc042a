//! Automatic policies, which choose operations at random: TrivialAugment in its wide form (Mueller &
//! Hutter, 2021) and RandAugment (Cubuk et al., 2019), with torchvision's strengths.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::operation::Operation;
use crate::random::below;
use crate::{DataError, ImageShape};

/// Number of strengths, 0 to 30.
const BINS: u32 = 31;

/// TrivialAugment: one random operation of random strength per image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrivialAugment {}

/// RandAugment: several random operations per image, all of one strength.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugment {
    /// Number of operations, applied one after the other, 1 to 16.
    pub operations: u32,
    /// Strength of the operations, 0 to 30.
    pub magnitude: u32,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self {
            operations: 2,
            magnitude: 9,
        }
    }
}

impl TrivialAugment {
    pub(super) fn apply(&self, image: &mut [u8], shape: ImageShape, random: &mut ChaCha8Rng) {
        let operation = draw(random);
        let magnitude = Self::magnitude(operation, below(random, BINS));
        let magnitude = signed(operation, magnitude, random);
        operation.apply(image, shape, magnitude);
    }

    /// Magnitude of `operation` at strength `bin`, 0 to 30.
    pub fn magnitude(operation: Operation, bin: u32) -> f64 {
        let up_to = |most: f64| most * f64::from(bin) / f64::from(BINS - 1);
        match operation {
            Operation::ShearX | Operation::ShearY => up_to(0.99),
            Operation::TranslateX | Operation::TranslateY => up_to(32.0),
            Operation::Rotate => up_to(135.0),
            Operation::Brightness
            | Operation::Color
            | Operation::Contrast
            | Operation::Sharpness => up_to(0.99),
            Operation::Posterize => 8.0 - up_to(6.0).round_ties_even(),
            Operation::Solarize => 255.0 - up_to(255.0),
            Operation::Identity | Operation::AutoContrast | Operation::Equalize => 0.0,
        }
    }
}

impl RandAugment {
    pub(super) fn check(&self) -> Result<(), DataError> {
        let refuse = |key: &str, found: u32, accepted: &str| {
            let key = format!("data.augmentation.rand_augment.{key}");
            Err(DataError::value(key, found.to_string(), accepted))
        };
        if self.magnitude >= BINS {
            return refuse("magnitude", self.magnitude, "a whole number from 0 to 30");
        }
        if !(1..=16).contains(&self.operations) {
            return refuse("operations", self.operations, "a whole number from 1 to 16");
        }
        Ok(())
    }

    pub(super) fn apply(&self, image: &mut [u8], shape: ImageShape, random: &mut ChaCha8Rng) {
        for _ in 0..self.operations {
            let operation = draw(random);
            let magnitude = Self::magnitude(operation, self.magnitude, shape);
            let magnitude = signed(operation, magnitude, random);
            operation.apply(image, shape, magnitude);
        }
    }

    /// Magnitude of `operation` at strength `bin`, 0 to 30, for images of size `shape`.
    pub fn magnitude(operation: Operation, bin: u32, shape: ImageShape) -> f64 {
        let up_to = |most: f64| most * f64::from(bin) / f64::from(BINS - 1);
        // The paper translates images of 331 x 331 by up to 150 pixels.
        let part = 150.0 / 331.0;
        match operation {
            Operation::ShearX | Operation::ShearY => up_to(0.3),
            Operation::TranslateX => up_to(part * shape.width as f64),
            Operation::TranslateY => up_to(part * shape.height as f64),
            Operation::Rotate => up_to(30.0),
            Operation::Brightness
            | Operation::Color
            | Operation::Contrast
            | Operation::Sharpness => up_to(0.9),
            Operation::Posterize => 8.0 - up_to(4.0).round_ties_even(),
            Operation::Solarize => 255.0 - up_to(255.0),
            Operation::Identity | Operation::AutoContrast | Operation::Equalize => 0.0,
        }
    }
}

fn draw(random: &mut ChaCha8Rng) -> Operation {
    let place = below(random, Operation::ALL.len() as u32);
    Operation::ALL
        .get(place as usize)
        .copied()
        .unwrap_or(Operation::Identity)
}

fn signed(operation: Operation, magnitude: f64, random: &mut ChaCha8Rng) -> f64 {
    // The sign is drawn for every operation, used or not.
    match below(random, 2) == 1 && operation.is_signed() {
        true => -magnitude,
        false => magnitude,
    }
}
