//! Prepares a single image for a network: decoded, centre-cropped and normalised, as evaluation does with
//! the images of a set. For images that belong to no set.

use crate::decode::decode;
use crate::view::{Window, cut};
use crate::{Normalization, ValueError};

/// The largest side of the square, in pixels. The shorter side before the crop may be twice this long.
pub const MOST_SIDE: u32 = 4096;

/// The preparation of an image for a network.
#[derive(Clone, Debug)]
pub struct Preparation {
    size: u32,
    resize: u32,
    tables: Vec<[f32; 256]>,
}

impl Preparation {
    /// Creates a preparation: the shorter side becomes `resize` pixels, then the central `size` x `size`
    /// pixels are kept and normalised. The image becomes grey if the normalisation has one channel.
    ///
    /// # Errors
    /// [`ValueError`] for a number of channels other than 1 and 3, a value of `normalization` out of
    /// range, a `size` of 0 or above [`MOST_SIDE`], a `resize` below `size` or above twice [`MOST_SIDE`].
    pub fn new(size: u32, resize: u32, normalization: &Normalization) -> Result<Self, ValueError> {
        let channels = normalization.mean.len();
        if !matches!(channels, 1 | 3) {
            let found = channels.to_string();
            return Err(ValueError::new(
                "the network's number of channels",
                found,
                "3 (RGB) or 1 (grey)",
            ));
        }
        normalization.check(channels)?;
        if !(1..=MOST_SIDE).contains(&size) {
            return Err(ValueError::new(
                "the size of the images",
                format!("{size} pixels"),
                format!("1 to {MOST_SIDE}"),
            ));
        }
        if !(size..=2 * MOST_SIDE).contains(&resize) {
            return Err(ValueError::new(
                "the size of the images before the crop",
                format!("{resize} pixels"),
                format!("{size} to {}", 2 * MOST_SIDE),
            ));
        }
        Ok(Self {
            size,
            resize,
            tables: normalization.tables(),
        })
    }

    /// Channels, height and width of the result of [`Preparation::pixels`].
    pub fn shape(&self) -> [usize; 3] {
        let side = self.size as usize;
        [self.tables.len(), side, side]
    }

    /// The normalised pixels of an encoded image.
    ///
    /// # Errors
    /// A description of why the image cannot be decoded.
    pub fn pixels(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let picture = decode(bytes)?;
        let window = Window::central(picture.dimensions(), self.resize, self.size);
        let values = cut(&picture, window, self.size, self.tables.len())?;
        let plane = self.size as usize * self.size as usize;
        let channels = values.chunks(plane).zip(&self.tables);
        let normalised = |(plane, table): (&[u8], &[f32; 256])| {
            plane
                .iter()
                .map(|&value| table[usize::from(value)])
                .collect::<Vec<f32>>()
        };
        Ok(channels.flat_map(normalised).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let picture = RgbImage::from_pixel(width, height, Rgb([255, 0, 51]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn an_image_of_any_size_becomes_normalised_planes() {
        let normalization = Normalization {
            mean: vec![0.5, 0.0, 0.2],
            std: vec![0.5, 1.0, 0.1],
        };
        let preparation = Preparation::new(4, 5, &normalization).unwrap();
        for (width, height) in [(4, 4), (9, 31), (1, 1)] {
            let pixels = preparation.pixels(&png(width, height)).unwrap();
            assert_eq!(pixels.len(), 3 * 16);
            assert!(pixels[..16].iter().all(|&x| x == 1.0));
            assert!(pixels[16..32].iter().all(|&x| x == 0.0));
            assert!(pixels[32..].iter().all(|x| x.abs() < 1e-6));
        }
        let half = &png(9, 9)[..40];
        assert!(preparation.pixels(half).unwrap_err().contains("truncated"));
        assert_eq!(preparation.pixels(b"").unwrap_err(), "an empty file");
    }

    #[test]
    fn channels_that_no_image_has_are_refused() {
        let line = Preparation::new(4, 4, &Normalization::identity(2)).unwrap_err();
        assert!(line.to_string().contains("3 (RGB) or 1 (grey)"));
    }

    #[test]
    fn sizes_out_of_range_are_refused_with_the_range() {
        for (size, resize, words) in [
            (0, 4, "is 0 pixels; accepted: 1 to 4096"),
            (200_000, 200_000, "is 200000 pixels; accepted: 1 to 4096"),
            (
                224,
                100,
                "before the crop is 100 pixels; accepted: 224 to 8192",
            ),
        ] {
            let refused = Preparation::new(size, resize, &Normalization::identity(3));
            let line = refused.unwrap_err().to_string();
            assert!(line.contains(words), "{line}");
        }
    }
}
