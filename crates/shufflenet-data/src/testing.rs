//! What several modules' tests share.

use rand_chacha::rand_core::Rng;

use crate::random::{Purpose, stream};
use crate::{Dataset, ImageShape};

/// `count` RGB images of 6 rows and 5 columns, noise of `seed`; labels 0 to 3 in turn.
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
