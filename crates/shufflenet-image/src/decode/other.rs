//! PNG, WebP and BMP, by the crate `image`.

use std::error::Error;
use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::damage::{damaged, truncated, unread};
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
        .map_err(|error| refusal(bytes, format, &error))?;
    check_size(decoder.dimensions())?;
    Ok(decoder)
}

/// The orientation in EXIF data. An image whose EXIF data cannot be read is not turned.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

/// Size and orientation.
pub(super) fn measure(bytes: &[u8], format: ImageFormat) -> Result<Header, String> {
    let mut decoder = header(bytes, format)?;
    Ok((decoder.dimensions(), orientation(&mut decoder)))
}

/// The pixels, not turned yet.
pub(super) fn decode(bytes: &[u8], format: ImageFormat) -> Result<Decoded, String> {
    let mut decoder = header(bytes, format)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let orientation = orientation(&mut decoder);
    let size = usize::try_from(decoder.total_bytes()).map_err(|_| {
        format!("an image of {width}x{height} pixels, more than this machine has memory for")
    })?;
    let mut values = vec![0; size];
    decoder
        .read_image(&mut values)
        .map_err(|error| refusal(bytes, format, &error))?;
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
        _ => return Err(format!("a {} whose pixels are not read", name(format))),
    };
    picture(width, height, rgb).map(|picture| (picture, orientation))
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Bmp => "BMP",
        _ => "WebP",
    }
}

/// What is wrong with `bytes`, in one line.
fn refusal(bytes: &[u8], format: ImageFormat, error: &ImageError) -> String {
    let name = name(format);
    let ends_early = match error {
        ImageError::IoError(error) => error.kind() == ErrorKind::UnexpectedEof,
        _ => format == ImageFormat::WebP && is_cut_off(bytes),
    };
    if ends_early {
        return truncated(name);
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match error {
        ImageError::Unsupported(_) => unread(name, cause),
        _ => damaged(name, cause),
    }
}

/// Whether a WebP is shorter than its header says. The decoder calls its data corrupt then.
fn is_cut_off(bytes: &[u8]) -> bool {
    let length = bytes.get(4..8).and_then(|bytes| bytes.first_chunk());
    length.is_some_and(|&length| (bytes.len() as u64) < 8 + u64::from(u32::from_le_bytes(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PNG of 9x7 pixels.
    fn png() -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let picture = image::RgbImage::new(9, 7);
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn damage_is_told_without_the_names_of_types() {
        let whole = png();
        let found = |bytes: &[u8]| decode(bytes, ImageFormat::Png).unwrap_err();
        assert_eq!(found(&whole[..whole.len() / 2]), "a truncated PNG");
        // Of the header's width, and of the compressed pixels.
        for at in [19, whole.len() - 20] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            let message = found(&bytes);
            let start = "a damaged PNG (the decoder says \"";
            assert!(message.starts_with(start), "{message}");
            assert!(
                !message.contains(['{', ':']) || message.contains("CRC error:"),
                "{message}"
            );
            assert!(!message.contains("ChunkType"), "{message}");
        }
    }

    #[test]
    fn a_webp_that_is_cut_off_is_called_truncated() {
        let mut bytes = Cursor::new(Vec::new());
        let picture = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 9]));
        picture.write_to(&mut bytes, ImageFormat::WebP).unwrap();
        let whole = bytes.into_inner();
        decode(&whole, ImageFormat::WebP).unwrap();
        for length in [14, whole.len() / 2] {
            let message = decode(&whole[..length], ImageFormat::WebP).unwrap_err();
            assert_eq!(message, "a truncated WebP", "{length}");
        }
    }
}
