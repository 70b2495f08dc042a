//! PNG, WebP and BMP, by the crate `image`.

use std::error::Error;
use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

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

/// What is wrong, in one line: the decoder's own cause, without the names of Rust's types that it ends with.
fn damaged(format: ImageFormat, error: &image::ImageError) -> String {
    let name = match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Bmp => "BMP",
        _ => "WebP",
    };
    if let ImageError::IoError(error) = error
        && error.kind() == ErrorKind::UnexpectedEof
    {
        return format!("a truncated {name}");
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    let words = text.split(" while decoding").next().unwrap_or(&text);
    format!("a damaged {name} ({})", words.trim_end_matches('.'))
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
            let told = found(&bytes);
            assert!(told.starts_with("a damaged PNG ("), "{told}");
            assert!(
                !told.contains(['{', ':']) || told.contains("CRC error:"),
                "{told}"
            );
            assert!(!told.contains("ChunkType"), "{told}");
        }
    }
}
