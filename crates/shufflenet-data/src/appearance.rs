//! Measures how large the images of a set are, and whether they are grey. `train --data` chooses a network by these.
//!
//! Only a sample of the images is decoded, evenly spread over the set. A sample is enough, because a few images of another
//! size do not change the median.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use image::RgbImage;

use crate::{DataError, Dataset};

/// The largest number of images that are decoded.
const SAMPLE: usize = 64;

/// Size and colour of a sample of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appearance {
    /// Median of the images' shorter sides, in pixels.
    pub shorter_side: usize,
    /// Whether every image is grey.
    pub is_grey: bool,
}

impl Dataset {
    /// Size and colour of a sample of at most 64 images, without those that cannot be decoded.
    ///
    /// # Errors
    /// What is wrong with the first image, if none of the sample can be decoded.
    pub fn appearance(&self) -> Result<Appearance, DataError> {
        let Some(images) = self.encoded() else {
            return Ok(Appearance {
                shorter_side: self.shape.height.min(self.shape.width),
                is_grey: self.shape.channels == 1,
            });
        };
        let count = self.len().min(SAMPLE);
        let next = AtomicUsize::new(0);
        let (sender, results) = channel();
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        let picture = images.picture(number * self.len() / count);
                        // The receiver outlives the threads.
                        let _ = sender.send((number, picture.map(|picture| of(&picture))));
                    }
                });
            }
        });
        drop(sender);
        let mut results: Vec<_> = results.into_iter().collect();
        results.sort_by_key(|&(number, _)| number);
        let (mut sides, mut is_grey, mut first_error) = (Vec::new(), true, None);
        for (_, result) in results {
            match result {
                Ok((side, grey)) => {
                    sides.push(side);
                    is_grey &= grey;
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        sides.sort_unstable();
        match (sides.get(sides.len() / 2), first_error) {
            (Some(&shorter_side), _) => Ok(Appearance {
                shorter_side,
                is_grey,
            }),
            (None, Some(error)) => Err(error),
            // Not reachable: a set has at least one image.
            (None, None) => Err(DataError::value("the number of images", "0", "1 or more")),
        }
    }
}

/// Shorter side of an image, and whether it is grey.
fn of(picture: &RgbImage) -> (usize, bool) {
    let (width, height) = picture.dimensions();
    let is_grey = picture.pixels().all(|pixel| {
        let [red, green, blue] = pixel.0;
        red == green && green == blue
    });
    (width.min(height) as usize, is_grey)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Format, ImageShape, Options, Split, open, png};

    fn set(images: &[(&str, Vec<u8>)]) -> Result<Appearance, DataError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in images {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let format = Format::named("folder").unwrap();
        open(format, folder.path(), Split::Whole, &Options::default())?.appearance()
    }

    fn picture(width: usize, height: usize, channels: usize) -> Vec<u8> {
        let shape = ImageShape {
            channels,
            height,
            width,
        };
        let pixels: Vec<u8> = (0..shape.values()).map(|i| (i % 251) as u8).collect();
        png(&pixels, shape).unwrap()
    }

    #[test]
    fn size_is_the_median_and_one_colour_image_means_colour() {
        let grey = [
            ("a/1.png", picture(20, 30, 1)),
            ("a/2.png", picture(40, 24, 1)),
            ("b/1.png", picture(300, 500, 1)),
        ];
        let found = set(&grey).unwrap();
        assert_eq!((found.shorter_side, found.is_grey), (24, true));
        let mut colour = grey.to_vec();
        colour[2].1 = picture(300, 500, 3);
        assert!(!set(&colour).unwrap().is_grey);
    }

    #[test]
    fn bad_images_are_left_out_unless_all_are_bad() {
        let bad = b"no image at all".to_vec();
        let some = [("a/1.png", bad.clone()), ("b/1.png", picture(9, 9, 3))];
        assert_eq!(set(&some).unwrap().shorter_side, 9);
        let line = set(&[("a/1.png", bad.clone()), ("b/1.png", bad)]).unwrap_err();
        assert!(line.to_string().contains("1.png: found"), "{line}");
    }
}
