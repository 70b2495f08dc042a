//! Decodes an image to RGB.
//!
//! Formats are JPEG (grey, YCbCr, RGB, CMYK, YCCK; baseline and progressive), PNG, WebP and BMP, recognised
//! by content, not by name. Grey and palette images become RGB; 16-bit values keep the upper eight bits;
//! transparent pixels are blended with white; the EXIF orientation is applied. `tests/pillow.rs` compares
//! the results with Pillow's.
//!
//! Limits protect against hostile files: an image has at most [`MOST_PIXELS`] pixels. A larger one is
//! refused by its header before memory is allocated, so decoding takes at most about 1 GB.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, guess_format,
};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// The largest number of pixels of an image.
pub const MOST_PIXELS: u64 = 100_000_000;

/// Description of the accepted images, for error messages.
pub(crate) const READABLE: &str =
    "a whole JPEG, PNG, WebP or BMP image of at most 100 million pixels";

/// Decodes an encoded image to RGB, with the EXIF orientation applied.
///
/// # Errors
/// A description of what is wrong with `bytes`.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let (picture, orientation) = match guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => decode_jpeg(bytes)?,
        Ok(format @ (ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp)) => {
            decode_other(bytes, format)?
        }
        _ if bytes.is_empty() => return Err("an empty file".into()),
        _ => return Err("bytes of another kind of file".into()),
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
    let ((width, height), orientation) = match guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            let (decoder, size) = jpeg_header(bytes)?;
            (size, jpeg_orientation(&decoder))
        }
        Ok(format @ (ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp)) => {
            let mut decoder = other_header(bytes, format)?;
            (
                decoder.dimensions(),
                decoder.orientation().map_err(|e| e.to_string())?,
            )
        }
        _ => return Err("bytes of another kind of file".into()),
    };
    Ok(match orientation.to_exif() {
        5.. => (height, width),
        _ => (width, height),
    })
}

type Jpeg<'a> = JpegDecoder<ZCursor<&'a [u8]>>;

fn jpeg_header(bytes: &[u8]) -> Result<(Jpeg<'_>, (u32, u32)), String> {
    // The decoder's default limits would refuse an image of 65,535 rows. Our limit is on the number of
    // pixels.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder
        .decode_headers()
        .map_err(|error| format!("a damaged JPEG ({error})"))?;
    let info = decoder.info().ok_or("a JPEG without a header")?;
    let size = (u32::from(info.width), u32::from(info.height));
    check_size(size)?;
    Ok((decoder, size))
}

fn jpeg_orientation(decoder: &JpegDecoder<ZCursor<&[u8]>>) -> Orientation {
    let exif = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif));
    exif.unwrap_or(Orientation::NoTransforms)
}

fn decode_jpeg(bytes: &[u8]) -> Result<(RgbImage, Orientation), String> {
    // The decoder would fill missing data with grey.
    if !bytes.ends_with(&[0xff, END_OF_IMAGE]) && !jpeg_has_an_end(bytes) {
        return Err("a truncated JPEG".into());
    }
    let (mut decoder, (width, height)) = jpeg_header(bytes)?;
    let orientation = jpeg_orientation(&decoder);
    // The decoder converts every other colour space to RGB.
    let grey = matches!(
        decoder.input_colorspace(),
        Some(ColorSpace::Luma | ColorSpace::LumaA)
    );
    let space = if grey {
        ColorSpace::Luma
    } else {
        ColorSpace::RGB
    };
    let options = *decoder.options();
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let values = decoder
        .decode()
        .map_err(|error| format!("a damaged JPEG ({error})"))?;
    let rgb = if grey { spread(&values) } else { values };
    picture(width, height, rgb).map(|picture| (picture, orientation))
}

const END_OF_IMAGE: u8 = 0xd9;

/// Whether the markers of a JPEG lead to the one that ends it. Bytes after the end are ignored, because
/// phones append videos.
fn jpeg_has_an_end(bytes: &[u8]) -> bool {
    // Skip the marker "start of image".
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some(start) = rest.iter().position(|&byte| byte == 0xff) {
        let marker = rest.get(start + 1).copied().unwrap_or(0);
        rest = rest.get(start + 1..).unwrap_or_default();
        match marker {
            END_OF_IMAGE => return true,
            // No segment follows a fill byte, a byte 0xff of compressed data or a restart marker.
            0xff | 0x00 | 0x01 | 0xd0..=0xd8 => {}
            _ => {
                let length = match rest {
                    [_, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
                    _ => return false,
                };
                // Compressed data follows a scan's header; the search for the next marker goes through it.
                rest = rest.get(1 + length..).unwrap_or_default();
            }
        }
    }
    false
}

fn other_header(bytes: &[u8], format: ImageFormat) -> Result<impl ImageDecoder, String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    // A pixel takes at most eight bytes (RGBA of 16 bits), and decoders also keep a few rows.
    limits.max_alloc = Some(9 * MOST_PIXELS);
    reader.limits(limits);
    let decoder = reader
        .into_decoder()
        .map_err(|error| damaged(format, &error))?;
    check_size(decoder.dimensions())?;
    Ok(decoder)
}

fn decode_other(bytes: &[u8], format: ImageFormat) -> Result<(RgbImage, Orientation), String> {
    let mut decoder = other_header(bytes, format)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let size = usize::try_from(decoder.total_bytes()).map_err(|error| error.to_string())?;
    let mut values = vec![0; size];
    decoder
        .read_image(&mut values)
        .map_err(|error| damaged(format, &error))?;
    let values = match color {
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            upper_bytes(&values)
        }
        _ => values,
    };
    let rgb = match color {
        ColorType::L8 | ColorType::L16 => spread(&values),
        ColorType::La8 | ColorType::La16 => on_white::<2>(&values),
        ColorType::Rgba8 | ColorType::Rgba16 => on_white::<4>(&values),
        ColorType::Rgb8 | ColorType::Rgb16 => values,
        other => return Err(format!("an image of kind {other:?}")),
    };
    picture(width, height, rgb).map(|picture| (picture, orientation))
}

fn damaged(format: ImageFormat, error: &image::ImageError) -> String {
    format!("a damaged {format:?} ({error})")
}

fn check_size((width, height): (u32, u32)) -> Result<(), String> {
    match u64::from(width) * u64::from(height) {
        0 => Err(format!("an image of {width}x{height} pixels")),
        1..=MOST_PIXELS => Ok(()),
        _ => Err(format!("an image of {width}x{height} pixels")),
    }
}

fn picture(width: u32, height: u32, rgb: Vec<u8>) -> Result<RgbImage, String> {
    let found = rgb.len();
    RgbImage::from_raw(width, height, rgb)
        .ok_or_else(|| format!("{found} bytes of pixels for {width}x{height}"))
}

/// Converts grey values to RGB.
fn spread(grey: &[u8]) -> Vec<u8> {
    grey.iter().flat_map(|&value| [value; 3]).collect()
}

/// The upper byte of each 16-bit value, which is what an 8-bit screen shows.
fn upper_bytes(values: &[u8]) -> Vec<u8> {
    let pairs = values.as_chunks::<2>().0.iter();
    pairs
        .map(|&pair| (u16::from_ne_bytes(pair) >> 8) as u8)
        .collect()
}

/// Blends grey or RGB with alpha (`N` = 2 or 4 values per pixel) with white.
fn on_white<const N: usize>(values: &[u8]) -> Vec<u8> {
    let over = |value: u8, alpha: u8| {
        let sum = u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha));
        // Rounded division by 255.
        let sum = sum + 128;
        ((sum + (sum >> 8)) >> 8) as u8
    };
    let pixels = values.as_chunks::<N>().0.iter();
    let rgb = pixels.flat_map(|pixel| {
        let (first, alpha) = (pixel[0], pixel[N - 1]);
        let color = match N {
            2 => [first; 3],
            _ => [first, pixel[1 % N], pixel[2 % N]],
        };
        color.map(|value| over(value, alpha))
    });
    rgb.collect()
}
