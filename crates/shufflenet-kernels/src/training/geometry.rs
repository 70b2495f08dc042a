//! The sizes of an operation's maps, and the parts that a batch is cut into for the threads.
//!
//! The parts depend on the sizes only, and sums over parts are taken in order. So the result's bits
//! do not depend on the number of threads.

use crate::kernels::map::MapShape;
use crate::simd::Isa;

/// The maps of an operation, and the parts of its batch.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// The instruction set that the kernels run on.
    pub isa: Isa,
    /// Images of the batch.
    pub images: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
    /// Stride of the operation's 3x3 convolution.
    pub stride: usize,
    /// Images in a part of the batch; the last part may have fewer.
    pub part: usize,
}

/// Most parts of a batch: more have been of no use so far.
const MOST_PARTS: usize = 32;

impl Geometry {
    /// Cuts a batch into parts that are so large that adding up their weight gradients, `channels` squared
    /// values each, takes a small part of the time to compute them.
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

    /// Shape of a depthwise convolution's input map for `channels` channels.
    pub(crate) fn map(&self, channels: usize) -> MapShape {
        MapShape {
            height: self.height,
            width: self.width,
            channels: self.isa.padded(channels),
            before: 1,
            after: 1,
        }
    }

    /// Shape of the map of a depthwise convolution's output gradient for `channels` channels.
    pub(crate) fn gradient_map(&self, channels: usize) -> MapShape {
        let [height, width] = self.output();
        MapShape {
            height,
            width,
            channels: self.isa.padded(channels),
            // For stride 2 no output before the first one reads the input's border.
            before: usize::from(self.stride == 1),
            after: 1,
        }
    }
}
