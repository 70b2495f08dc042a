//! Generated images for tests and benchmarks: no files, any size, and a network can learn them.
//!
//! A class is a direction: its images are a plane wave in that direction, with random phase and noise.
//! Image `i` is a function of (seed, part, `i`), so sets of different lengths begin with the same images.
//! Labels cycle through the classes.

use std::f32::consts::{PI, TAU};
use std::path::Path;

use rand_chacha::rand_core::Rng;

use crate::dataset::name_of;
use crate::format::Reader;
use crate::random::{Purpose, stream};
use crate::{DataError, Dataset, ImageShape, Options, Split, SyntheticOptions};

/// Number of periods of the wave across the image.
const WAVES: f32 = 3.0;

/// The format `synthetic`. The root is used only as a name.
pub(crate) struct Synthetic;

impl Reader for Synthetic {
    fn name(&self) -> &'static str {
        "synthetic"
    }

    fn recognises(&self, _root: &Path) -> bool {
        false
    }

    fn open(&self, root: &Path, split: Split, options: &Options) -> Result<Dataset, DataError> {
        let SyntheticOptions {
            classes,
            train,
            test,
            size,
            seed,
        } = options.synthetic;
        let (part, count) = match split {
            Split::Train => (0, train),
            _ => (1, test),
        };
        let side = size as usize;
        let shape = ImageShape {
            channels: options.channels,
            height: side,
            width: side,
        };
        let values = [u64::from(size), u64::from(size), u64::from(count)]
            .into_iter()
            .try_fold(options.channels as u64, u64::checked_mul)
            .filter(|values| (1..=1 << 36).contains(values));
        let Some(values) = values.filter(|_| classes > 0) else {
            let found = format!("{count} images of {size}x{size} in {classes} classes");
            let expected = "1 or more of each, and at most 64 GiB";
            return Err(DataError::value("data.options.synthetic", found, expected));
        };
        let mut pixels = vec![0; values as usize];
        let mut labels = Vec::new();
        for (index, image) in (0u32..).zip(pixels.chunks_exact_mut(shape.values())) {
            let label = (index % u32::from(classes)) as u16;
            let mut random = stream(seed, Purpose::Synthetic, part, index.into());
            random.fill_bytes(image);
            let phase = random.next_u32() as f32 / u32::MAX as f32 * TAU;
            let angle = PI * f32::from(label) / f32::from(classes);
            let (sin, cos) = angle.sin_cos();
            for plane in image.chunks_exact_mut(shape.plane()) {
                for (at, pixel) in plane.iter_mut().enumerate() {
                    let (y, x) = ((at / side) as f32, (at % side) as f32);
                    let wave = (TAU * WAVES * (x * cos + y * sin) / side as f32 + phase).sin();
                    // Noise takes a quarter of the range, the wave three quarters.
                    let noise = f32::from(*pixel) / 4.0;
                    *pixel = (noise + 95.0 * (wave + 1.0)) as u8;
                }
            }
            labels.push(label);
        }
        let names = (0..classes)
            .map(|class| format!("direction {class}"))
            .collect();
        Dataset::new(name_of(root), shape, names, pixels, labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(split: Split, synthetic: SyntheticOptions) -> Result<Dataset, DataError> {
        let options = Options {
            synthetic,
            ..Options::default()
        };
        Synthetic.open(Path::new("waves"), split, &options)
    }

    #[test]
    fn images_are_a_function_of_seed_part_and_number() {
        let small = SyntheticOptions {
            train: 12,
            test: 12,
            size: 9,
            ..Default::default()
        };
        let train = open(Split::Train, small.clone()).unwrap();
        assert_eq!(
            (train.len(), train.classes(), train.name.as_str()),
            (12, 10, "waves")
        );
        assert_eq!(train.labels()[9..], [9, 0, 1]);
        let longer = SyntheticOptions {
            train: 20,
            ..small.clone()
        };
        let longer = open(Split::Train, longer).unwrap();
        assert_eq!(train.image(11).unwrap(), longer.image(11).unwrap());
        let test = open(Split::Test, small.clone()).unwrap();
        assert_ne!(train.image(0).unwrap(), test.image(0).unwrap());
        let reseeded = open(Split::Train, SyntheticOptions { seed: 1, ..small }).unwrap();
        assert_ne!(train.image(0).unwrap(), reseeded.image(0).unwrap());
    }

    #[test]
    fn sizes_that_cannot_work_are_refused() {
        let huge = SyntheticOptions {
            train: u32::MAX,
            size: u32::MAX,
            ..Default::default()
        };
        let none = SyntheticOptions {
            classes: 0,
            ..Default::default()
        };
        for refused in [huge, none] {
            let line = open(Split::Train, refused).unwrap_err().to_string();
            assert!(line.contains("at most 64 GiB"), "{line}");
        }
    }
}
