//! Maps with a border of zeros, from which depthwise convolutions read.

use super::site::Site;
use crate::kernels::map::MapShape;
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;

/// The maps of all images: of one layer for a stride-1 unit, of two for a downsampling one.
pub(super) struct Maps<T: Stored> {
    pub shapes: [MapShape; 2],
    pub maps: [Buffer<T>; 2],
}

impl<T: Stored> Maps<T> {
    /// Maps of `channels` channels each, in whole vectors; 0 channels for a map that is not used.
    pub fn new(site: Site, channels: [usize; 2]) -> Self {
        let shapes = channels.map(|channels| MapShape {
            height: site.height,
            width: site.width,
            channels,
            before: 1,
            after: 1,
        });
        let maps = shapes.map(|shape| {
            let mut maps = Buffer::any(site.images * shape.len());
            if shape.channels > 0 {
                let images = maps.chunks_exact_mut(shape.len());
                images.for_each(|map| shape.clear_border(map));
            }
            maps
        });
        Self { shapes, maps }
    }
}
