//! Helpers shared by the tests of several modules.

use rand_chacha::rand_core::Rng;

use crate::random::{Purpose, stream};
use crate::{Dataset, ImageShape};

/// `count` RGB images of 6 rows and 5 columns with noise from `seed`; labels cycle from 0 to 3.
pub fn random_dataset(count: usize, seed: u64) -> Dataset {
    let shape = ImageShape {
        channels: 3,
        height: 6,
        width: 5,
    };
    let mut pixels = vec![0; count * shape.values()];
    stream(seed, Purpose::Order, 0, 0).fill_bytes(&mut pixels);
    let labels = (0..count).map(|record| (record % 4) as u16).collect();
    let names = ["a", "b", "c", "d"].map(String::from).to_vec();
    Dataset::new("noise".into(), shape, names, pixels, labels).unwrap()
}

/// A PNG filled with one grey value.
pub fn png(width: u32, height: u32, value: u8) -> Vec<u8> {
    let picture = image::RgbImage::from_pixel(width, height, image::Rgb([value; 3]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}
