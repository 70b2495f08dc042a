//! JPEG (ITU-T T.81): grey, YCbCr, RGB, CMYK and YCCK, baseline and progressive.
//!
//! The decoder fills missing data with grey, so a file without an end is refused first.

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::damage::{damaged, truncated};
use super::pixels::{check_size, picture, spread};
use super::{Decoded, Header};

type Jpeg<'a> = JpegDecoder<ZCursor<&'a [u8]>>;

fn header(bytes: &[u8]) -> Result<(Jpeg<'_>, (u32, u32)), String> {
    // The decoder's default limits would refuse an image of 65,535 rows. Our limit is on the number of
    // pixels.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder
        .decode_headers()
        .map_err(|error| damaged("JPEG", error))?;
    let info = decoder.info().ok_or("a JPEG without a header")?;
    // The decoder would give two channels where three are expected.
    if !matches!(info.components, 1 | 3 | 4) {
        return Err(format!(
            "a JPEG of {} components; 1, 3 or 4 are read",
            info.components
        ));
    }
    let size = (u32::from(info.width), u32::from(info.height));
    check_size(size)?;
    Ok((decoder, size))
}

fn orientation_of(decoder: &Jpeg<'_>) -> Orientation {
    let exif = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif));
    exif.unwrap_or(Orientation::NoTransforms)
}

/// Size and orientation.
pub(super) fn measure(bytes: &[u8]) -> Result<Header, String> {
    let (decoder, size) = header(bytes)?;
    Ok((size, orientation_of(&decoder)))
}

/// The pixels, not turned yet.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    // The decoder would fill missing data with grey.
    if !is_whole(bytes) {
        return Err(truncated("JPEG"));
    }
    let (mut decoder, (width, height)) = header(bytes)?;
    let orientation = orientation_of(&decoder);
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
    let values = decoder.decode().map_err(|error| damaged("JPEG", error))?;
    let rgb = if grey { spread(&values) } else { values };
    picture(width, height, rgb).map(|picture| (picture, orientation))
}

/// Whether nothing is cut off.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.ends_with(&[0xff, END_OF_IMAGE]) || has_an_end(bytes)
}

const END_OF_IMAGE: u8 = 0xd9;

/// Whether the markers of a JPEG lead to the one that ends it. Bytes after the end are ignored, because
/// phones append videos.
fn has_an_end(bytes: &[u8]) -> bool {
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
