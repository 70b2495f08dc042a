//! PNG, WebP and BMP, by the crate `image`.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::pixels::{check_size, on_white, picture, spread, upper_bytes};
use super::{Decoded, Header, MOST_PIXELS};

fn header(bytes: &[u8], format: ImageFormat) -> Result<impl ImageDecoder, String> {
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

/// Size and orientation.
pub(super) fn measure(bytes: &[u8], format: ImageFormat) -> Result<Header, String> {
    let mut decoder = header(bytes, format)?;
    let orientation = decoder.orientation().map_err(|e| e.to_string())?;
    Ok((decoder.dimensions(), orientation))
}

/// The pixels, not turned yet.
pub(super) fn decode(bytes: &[u8], format: ImageFormat) -> Result<Decoded, String> {
    let mut decoder = header(bytes, format)?;
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
