//! A PNG of training images as the network gets them, in a grid with their labels.

use std::io::Cursor;

use font8x8::legacy::BASIC_LEGACY;
use image::{ImageFormat, Rgb, RgbImage};

use crate::{Batch, DataError};

/// Smallest width of a tile: small images are enlarged by a whole factor to make labels readable.
const TILE: u32 = 96;
/// Height of a label, which has letters of eight rows.
const LABEL: u32 = 12;
const GAP: u32 = 4;
const INK: Rgb<u8> = Rgb([20, 20, 20]);
const PAPER: Rgb<u8> = Rgb([245, 245, 245]);

/// A PNG of the images in `batch`, whose pixels are normalised to 0..1 (grey or RGB). Each row has
/// `columns` images, each above the name of its class.
///
/// # Errors
/// [`DataError::Value`] for a mosaic that is too large to encode.
pub fn mosaic(batch: &Batch, class_names: &[String], columns: usize) -> Result<Vec<u8>, DataError> {
    let columns = columns.clamp(1, batch.len().max(1)) as u32;
    let rows = (batch.len() as u32).div_ceil(columns);
    let (height, width) = (batch.shape.height as u32, batch.shape.width as u32);
    let factor = TILE.div_ceil(width.max(1));
    let (tile_width, tile_height) = (width * factor, height * factor);
    let step = (tile_width + GAP, tile_height + LABEL + GAP);
    let mut page = RgbImage::from_pixel(columns * step.0 + GAP, rows * step.1 + GAP, PAPER);
    let images = batch.pixels.chunks_exact(batch.shape.values());
    for (index, (image, &label)) in (0u32..).zip(images.zip(&batch.labels)) {
        let (left, top) = (
            GAP + index % columns * step.0,
            GAP + index / columns * step.1,
        );
        let plane = batch.shape.plane();
        let level = |channel: usize, y: u32, x: u32| {
            let at = channel % batch.shape.channels * plane + (y * width + x) as usize;
            (image[at] * 255.0).round() as u8
        };
        for y in 0..tile_height {
            for x in 0..tile_width {
                let pixel = [0, 1, 2].map(|channel| level(channel, y / factor, x / factor));
                page.put_pixel(left + x, top + y, Rgb(pixel));
            }
        }
        let name = class_names
            .get(usize::from(label))
            .map_or("?", String::as_str);
        write_text(
            &mut page,
            name,
            (left, top + tile_height + 2),
            tile_width / 8,
        );
    }
    let mut png = Cursor::new(Vec::new());
    page.write_to(&mut png, ImageFormat::Png)
        .map_err(|error| DataError::value("the mosaic", error.to_string(), "a smaller one"))?;
    Ok(png.into_inner())
}

/// Writes `text`, at most `letters` characters of it. Characters outside ASCII become `?`.
fn write_text(page: &mut RgbImage, text: &str, (left, top): (u32, u32), letters: u32) {
    for (place, letter) in (0..letters).zip(text.chars()) {
        let code = if letter.is_ascii() {
            letter as usize
        } else {
            usize::from(b'?')
        };
        let glyph = BASIC_LEGACY.get(code).copied().unwrap_or_default();
        for (y, row) in (0u32..).zip(glyph) {
            for x in (0..8).filter(|x| row >> x & 1 == 1) {
                page.put_pixel(left + 8 * place + x, top + y, INK);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    #[test]
    fn tiles_show_the_images_enlarged_over_their_names() {
        let batch = Batch {
            pixels: [vec![0.0; 4], vec![1.0; 4], vec![0.5; 4]].concat(),
            labels: vec![0, 1, 7],
            shape: ImageShape {
                channels: 1,
                height: 2,
                width: 2,
            },
            mix: None,
            share: None,
        };
        let names = ["ok".to_string(), "a name longer than its tile".into()];
        let page = image::load_from_memory(&mosaic(&batch, &names, 2).unwrap())
            .unwrap()
            .into_rgb8();
        assert_eq!(page.dimensions(), (2 * 100 + 4, 2 * 112 + 4));
        assert_eq!(page.get_pixel(50, 50), &Rgb([0; 3]));
        assert_eq!(page.get_pixel(150, 50), &Rgb([255; 3]));
        assert_eq!(page.get_pixel(50, 150), &Rgb([128; 3]));
        let inked = |left: u32| {
            let strip = (left..left + 96).flat_map(|x| (100..112).map(move |y| (x, y)));
            strip.filter(|&(x, y)| page.get_pixel(x, y) == &INK).count()
        };
        assert!(inked(4) > 10 && inked(104) > 50);
    }
}
