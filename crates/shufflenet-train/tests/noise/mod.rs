//! Images that several test programs train on.

use shufflenet_data::{Batch, ImageShape};

/// RGB noise of `size` by `size` pixels with labels 0 to 9, another for each `salt`.
pub fn batch(salt: u32, images: usize, size: usize) -> Batch {
    let shape = ImageShape {
        channels: 3,
        height: size,
        width: size,
    };
    // Knuth's multiplicative hash: noise that is the same everywhere.
    let hash = |i: usize| (i as u32 + (salt << 24)).wrapping_mul(2_654_435_761) >> 8;
    let pixel = |i| hash(i) as f32 / 8_388_608.0 - 1.0;
    Batch {
        pixels: (0..images * shape.values()).map(pixel).collect(),
        labels: (0..images).map(|i| (hash(i) % 10) as u16).collect(),
        shape,
        mix: None,
        share: None,
    }
}
