//! Random changes to training images: a shifted crop and a mirror image.
//!
//! The crop is torchvision's `RandomCrop(size, padding)`: black borders, then a window of the original
//! size anywhere in it. Both are drawn anew for each (seed, epoch, record).

use serde::{Deserialize, Serialize};

use crate::dataset::ImageShape;
use crate::random::{Purpose, below, stream};

/// Which changes are made; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Pixels of black border on each side before cropping back to the size.
    pub crop_padding: usize,
    /// Mirror left and right, half of the time.
    pub flip: bool,
}

/// What was drawn for one image: the window's corner within the padded image, and the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draw {
    top: usize,
    left: usize,
    padding: usize,
    flip: bool,
}

impl Augmentation {
    pub(crate) fn draw(self, seed: u64, epoch: u64, record: u64) -> Draw {
        let mut random = stream(seed, Purpose::Augment, epoch, record);
        // A border wider than this would be all one sees; no image is that large.
        let padding = self.crop_padding.min(1 << 16);
        let offsets = 2 * padding as u32 + 1;
        Draw {
            top: below(&mut random, offsets) as usize,
            left: below(&mut random, offsets) as usize,
            padding,
            flip: self.flip && below(&mut random, 2) == 1,
        }
    }
}

impl Draw {
    /// Writes the changed image to `out`, each pixel through its channel's table. The border is pixel
    /// value 0, so it is normalised as black.
    pub(crate) fn write(
        self,
        image: &[u8],
        shape: ImageShape,
        tables: &[[f32; 256]],
        out: &mut [f32],
    ) {
        let (height, width) = (shape.height, shape.width);
        let planes = image.chunks_exact(shape.plane()).zip(out.chunks_exact_mut(shape.plane()));
        for ((plane, out), table) in planes.zip(tables) {
            for (y, out) in out.chunks_exact_mut(width).enumerate() {
                out.fill(table[0]);
                let Some(row) = (y + self.top).checked_sub(self.padding).filter(|&y| y < height)
                else {
                    continue;
                };
                let row = &plane[row * width..(row + 1) * width];
                // Output column x shows source column x + left - padding, where there is one.
                let first = self.padding.saturating_sub(self.left).min(width);
                let source = (self.left + first).saturating_sub(self.padding).min(width);
                let length = width - first.max(source);
                let visible = &row[source..source + length];
                let shown = &mut out[first..first + length];
                for (value, &pixel) in shown.iter_mut().zip(visible) {
                    *value = table[usize::from(pixel)];
                }
                if self.flip {
                    out.reverse();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Normalization;

    const SHAPE: ImageShape = ImageShape {
        channels: 2,
        height: 5,
        width: 4,
    };

    /// The definition, pixel by pixel.
    fn naive(draw: Draw, image: &[u8]) -> Vec<f32> {
        let mut out = Vec::new();
        for channel in 0..SHAPE.channels {
            for y in 0..SHAPE.height {
                for x in 0..SHAPE.width {
                    let x = if draw.flip { SHAPE.width - 1 - x } else { x };
                    let row = (y + draw.top) as isize - draw.padding as isize;
                    let column = (x + draw.left) as isize - draw.padding as isize;
                    let inside = (0..SHAPE.height as isize).contains(&row)
                        && (0..SHAPE.width as isize).contains(&column);
                    let at = |r, c| image[(channel * SHAPE.height + r) * SHAPE.width + c];
                    let pixel = if inside { at(row as usize, column as usize) } else { 0 };
                    out.push(f32::from(pixel) / 255.0);
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn crop_and_flip_follow_their_definition(padding in 0usize..9, flip: bool, seed: u64) {
            let image: Vec<u8> = (1..=40).collect();
            let augmentation = Augmentation { crop_padding: padding, flip };
            let draw = augmentation.draw(seed, 0, 0);
            let mut out = vec![0.0; 40];
            draw.write(&image, SHAPE, &Normalization::identity(2).tables(), &mut out);
            prop_assert_eq!(out, naive(draw, &image));
        }
    }

    #[test]
    fn every_offset_and_both_mirrors_occur() {
        let augmentation = Augmentation {
            crop_padding: 1,
            flip: true,
        };
        let draws: Vec<Draw> = (0..400).map(|i| augmentation.draw(0, 1, i)).collect();
        for offset in 0..3 {
            assert!(draws.iter().any(|draw| draw.top == offset));
            assert!(draws.iter().any(|draw| draw.left == offset));
        }
        let flipped = draws.iter().filter(|draw| draw.flip).count();
        assert!((150..250).contains(&flipped), "{flipped}");
    }
}
