//! Writes one image of a set as a PNG file.

use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

use crate::{DataError, ImageShape};

/// A PNG of `pixels`, C x H x W: grey for one channel, otherwise RGB from the first three channels.
///
/// # Errors
/// [`DataError::Value`] if there are fewer pixels than `shape` requires, or if PNG cannot hold the image.
pub fn png(pixels: &[u8], shape: ImageShape) -> Result<Vec<u8>, DataError> {
    let refuse = |found: String| DataError::value("an image", found, format!("pixels of {shape}"));
    let plane = shape.plane();
    let planes: Vec<&[u8]> = pixels.chunks_exact(plane.max(1)).collect();
    let (values, kind) = match planes.as_slice() {
        [grey] => (grey.to_vec(), ExtendedColorType::L8),
        [red, green, blue, ..] => {
            let colours = red.iter().zip(*green).zip(*blue);
            let values = colours.flat_map(|((&red, &green), &blue)| [red, green, blue]);
            (values.collect(), ExtendedColorType::Rgb8)
        }
        _ => return Err(refuse(format!("{} planes", planes.len()))),
    };
    let mut file = Cursor::new(Vec::new());
    PngEncoder::new(&mut file)
        .write_image(&values, shape.width as u32, shape.height as u32, kind)
        .map_err(|error| refuse(error.to_string()))?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_come_back() {
        let shape = |channels| ImageShape {
            channels,
            height: 2,
            width: 3,
        };
        let pixels: Vec<u8> = (0..18).collect();
        let back = image::load_from_memory(&png(&pixels, shape(3)).unwrap()).unwrap();
        assert_eq!(back.to_rgb8().get_pixel(1, 1).0, [4, 10, 16]);
        let back = image::load_from_memory(&png(&pixels[..6], shape(1)).unwrap()).unwrap();
        assert_eq!(back.to_luma8().get_pixel(2, 1).0, [5]);
        assert!(png(&pixels[..4], shape(1)).is_err());
    }
}
