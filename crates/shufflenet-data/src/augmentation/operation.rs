//! The operations that automatic policies choose from, each with a magnitude, as in torchvision's
//! `_apply_op`.

use super::color;
use super::warp::Affine;
use crate::ImageShape;

/// One operation. Each variant documents the meaning of its magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// No change; ignores the magnitude.
    Identity,
    /// Shears rows; the magnitude is the slope.
    ShearX,
    /// Shears columns; the magnitude is the slope.
    ShearY,
    /// Moves the image to the right by the magnitude in pixels, truncated to whole pixels.
    TranslateX,
    /// Moves the image down by the magnitude in pixels, truncated to whole pixels.
    TranslateY,
    /// Rotates counterclockwise by the magnitude in degrees.
    Rotate,
    /// Scales the brightness; the magnitude is the factor minus 1.
    Brightness,
    /// Scales the saturation; the magnitude is the factor minus 1.
    Color,
    /// Scales the contrast; the magnitude is the factor minus 1.
    Contrast,
    /// Scales the sharpness; the magnitude is the factor minus 1.
    Sharpness,
    /// Keeps the highest bits of each value; the magnitude is the number of bits.
    Posterize,
    /// Inverts large values; the magnitude is the smallest value that is inverted.
    Solarize,
    /// Stretches the values of each channel to the full range; ignores the magnitude.
    AutoContrast,
    /// Equalises the histogram of each channel; ignores the magnitude.
    Equalize,
}

impl Operation {
    /// All operations, in torchvision's order.
    pub const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// Whether the sign of the magnitude is random, negative with probability 1/2.
    pub fn is_signed(self) -> bool {
        !matches!(
            self,
            Self::Identity | Self::Posterize | Self::Solarize | Self::AutoContrast | Self::Equalize
        )
    }

    /// Applies the operation to `image`, C x H x W.
    pub fn apply(self, image: &mut [u8], shape: ImageShape, magnitude: f64) {
        match self {
            Self::Identity => {}
            Self::ShearX => Affine::shear_x(magnitude, shape).apply(image, shape),
            Self::ShearY => Affine::shear_y(magnitude, shape).apply(image, shape),
            Self::TranslateX => Affine::translate(magnitude.trunc(), 0.0).apply(image, shape),
            Self::TranslateY => Affine::translate(0.0, magnitude.trunc()).apply(image, shape),
            Self::Rotate => Affine::rotate(magnitude).apply(image, shape),
            Self::Brightness => color::brightness(image, 1.0 + magnitude),
            Self::Color => color::saturation(image, shape, 1.0 + magnitude),
            Self::Contrast => color::contrast(image, shape, 1.0 + magnitude),
            Self::Sharpness => color::sharpness(image, shape, 1.0 + magnitude),
            Self::Posterize => color::posterize(image, magnitude as u32),
            Self::Solarize => color::solarize(image, magnitude),
            Self::AutoContrast => color::autocontrast(image, shape),
            Self::Equalize => color::equalize(image, shape),
        }
    }
}
