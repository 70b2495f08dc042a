//! Decodes an image to RGB.
//!
//! Formats are JPEG (grey, YCbCr, RGB, CMYK, YCCK; baseline and progressive), PNG, WebP, BMP, TIFF (its first page),
//! GIF (its first frame) and PPM with its relatives PGM and PBM. The content tells them apart, not the name. Grey and
//! palette images become RGB; 16-bit values keep the upper eight bits; transparent pixels are blended with white; the
//! EXIF orientation is applied. `shufflenet-data`'s test `pillow` compares the results with Pillow's.
//!
//! Limits protect against hostile files: an image has at most [`MOST_PIXELS`] pixels. A larger one is
//! refused by its header before memory is allocated, so decoding takes at most about 1.5 GB (a PNG of 16 bits with alpha).

mod damage;
mod foreign;
pub(crate) mod gif;
mod jpeg;
mod names;
mod other;
mod pixels;
pub(crate) mod pnm;
pub(crate) mod tiff;

pub use foreign::{foreign_ending, foreign_kind};
pub use names::{ENDINGS, is_image_name, is_passed_over};

use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage, guess_format};

/// The largest number of pixels of an image.
pub const MOST_PIXELS: u64 = 100_000_000;

/// Description of the accepted images, for error messages.
pub const READABLE: &str =
    "a whole JPEG, PNG, WebP, BMP, TIFF, GIF or PPM image of at most 100 million pixels";

/// Width and height as stored, and how the image is turned.
type Header = ((u32, u32), Orientation);

/// The image as stored, and how it is turned.
type Decoded = (RgbImage, Orientation);

/// Decodes an encoded image to RGB, with the EXIF orientation applied.
///
/// # Errors
/// A description of what is wrong with `bytes`.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let (picture, orientation) = match format_of(bytes)? {
        ImageFormat::Jpeg => jpeg::decode(bytes)?,
        ImageFormat::Tiff => tiff::decode(bytes)?,
        ImageFormat::Gif => (gif::decode(bytes)?, Orientation::NoTransforms),
        ImageFormat::Pnm => (pnm::decode(bytes)?, Orientation::NoTransforms),
        other => other::decode(bytes, other)?,
    };
    if orientation == Orientation::NoTransforms {
        return Ok(picture);
    }
    let mut turned = DynamicImage::ImageRgb8(picture);
    turned.apply_orientation(orientation);
    Ok(turned.into_rgb8())
}

/// Width and height of the decoded image, with the EXIF orientation applied, from its header alone.
///
/// # Errors
/// Errors are those of [`decode`] that the header shows.
pub fn dimensions(bytes: &[u8]) -> Result<(u32, u32), String> {
    let ((width, height), orientation) = match format_of(bytes)? {
        ImageFormat::Jpeg => jpeg::measure(bytes)?,
        ImageFormat::Tiff => tiff::measure(bytes)?,
        ImageFormat::Gif => (gif::measure(bytes)?, Orientation::NoTransforms),
        ImageFormat::Pnm => (pnm::measure(bytes)?, Orientation::NoTransforms),
        other => other::measure(bytes, other)?,
    };
    Ok(match orientation.to_exif() {
        5.. => (height, width),
        _ => (width, height),
    })
}

/// One of the formats that are read, or what the file is instead.
fn format_of(bytes: &[u8]) -> Result<ImageFormat, String> {
    if let Ok(
        format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp),
    ) = guess_format(bytes)
    {
        return Ok(format);
    }
    // Raw photographs of many cameras are TIFFs whose first page is a small preview.
    if let Some(refusal) = foreign::refusal(bytes) {
        return Err(refusal);
    }
    match bytes {
        [] => Err("an empty file".into()),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(ImageFormat::Tiff),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(ImageFormat::Gif),
        [b'P', b'1'..=b'6', space, ..] if pnm::is_space(*space) => Ok(ImageFormat::Pnm),
        _ => Err("bytes of another kind of file".into()),
    }
}
