//! The sizes that an operation works on, and how it cuts a batch for its threads.
//!
//! A batch is cut into parts by its size alone, and sums over parts are made in order: the bits do
//! not depend on how many threads there are.

use super::map::MapShape;
use super::simd::Isa;

/// The maps of an operation, and the parts of its batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub isa: Isa,
    pub images: usize,
    /// Of the input.
    pub height: usize,
    /// Of the input.
    pub width: usize,
    pub stride: usize,
    /// Images in a part of the batch; the last part may have fewer.
    pub part: usize,
}

/// More parts than this are of no use to the machines we know.
const MOST_PARTS: usize = 32;

impl Geometry {
    /// Parts are so large that adding up their weight gradients, `channels` squared, stays a small
    /// part of computing them.
    pub fn new(
        isa: Isa,
        [images, height, width]: [usize; 3],
        stride: usize,
        channels: usize,
    ) -> Self {
        let pixels = height.div_ceil(stride) * width.div_ceil(stride);
        let parts = (images * pixels / (4 * channels)).clamp(2, MOST_PARTS);
        Self {
            isa,
            images,
            height,
            width,
            stride,
            part: images.div_ceil(parts),
        }
    }

    /// Pixels of an input image.
    pub fn pixels_in(&self) -> usize {
        self.height * self.width
    }

    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        [
            self.height.div_ceil(self.stride),
            self.width.div_ceil(self.stride),
        ]
    }

    /// Pixels of an output image.
    pub fn pixels_out(&self) -> usize {
        let [height, width] = self.output();
        height * width
    }

    /// A depthwise convolution's input map for `channels`.
    pub fn map(&self, channels: usize) -> MapShape {
        MapShape {
            height: self.height,
            width: self.width,
            channels: self.isa.padded(channels),
            before: 1,
            after: 1,
        }
    }

    /// The map of its output's gradient.
    pub fn gradient_map(&self, channels: usize) -> MapShape {
        let [height, width] = self.output();
        MapShape {
            height,
            width,
            channels: self.isa.padded(channels),
            // Of stride 2 the input's border meets no output before the first.
            before: usize::from(self.stride == 1),
            after: 1,
        }
    }
}
