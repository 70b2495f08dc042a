//! The operations that automatic policies choose from, each with a magnitude, as torchvision's `_apply_op`
//! has them.

use super::color;
use super::warp::Affine;
use crate::ImageShape;

/// One operation. What a magnitude means is beside each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nothing.
    Identity,
    /// Slope by which rows slide along.
    ShearX,
    /// Slope by which columns slide along.
    ShearY,
    /// Pixels to the right; fractions are cut off.
    TranslateX,
    /// Pixels down; fractions are cut off.
    TranslateY,
    /// Degrees, counterclockwise.
    Rotate,
    /// Factor less 1.
    Brightness,
    /// Factor of saturation less 1.
    Color,
    /// Factor less 1.
    Contrast,
    /// Factor less 1.
    Sharpness,
    /// Bits that are kept.
    Posterize,
    /// Value from which pixels are inverted.
    Solarize,
    /// None.
    AutoContrast,
    /// None.
    Equalize,
}

impl Operation {
    /// All of them, in torchvision's order.
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

    /// Whether a magnitude is as likely negative as positive.
    pub fn is_signed(self) -> bool {
        !matches!(
            self,
            Self::Identity | Self::Posterize | Self::Solarize | Self::AutoContrast | Self::Equalize
        )
    }

    /// Changes `image`, C x H x W.
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
