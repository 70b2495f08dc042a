//! Random images that several test programs train on.

use shufflenet_data::{Batch, ImageShape};

/// A batch of RGB noise of `size` by `size` pixels with labels 0 to 9. Each `salt` gives another batch.
pub fn batch(salt: u32, images: usize, size: usize) -> Batch {
    let shape = ImageShape {
        channels: 3,
        height: size,
        width: size,
    };
    Batch::noise(salt << 24, images, shape, 10)
}
