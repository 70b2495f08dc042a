//! Random changes to training images: pad and crop, flip.
//!
//! As torchvision's `RandomCrop(size, padding=p)` and `RandomHorizontalFlip()` do on u8 images: a
//! border of `p` black pixels, a window of the image's own size at a uniform offset, then a mirror
//! image half of the time. Done while pixels become normalised numbers, so that each is touched once.

use serde::{Deserialize, Serialize};

use crate::random::{Purpose, below, stream};
use crate::{DataError, Dataset, ImageShape};

/// What may happen to a training image. Default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Black pixels added on each side before cropping back to size; 0: no crop.
    pub crop_padding: usize,
    /// Mirror left and right with probability 1/2.
    pub flip: bool,
    /// Show a random window of an encoded image instead of its middle: torchvision's
    /// `RandomResizedCrop`, for photographs.
    pub random_resized_crop: bool,
}

/// One draw of an augmentation: where the window lies, and whether it is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// First row of the window, counted from the image's first: `-padding..=padding`.
    top: isize,
    /// First column, likewise.
    left: isize,
    flip: bool,
}

impl Placement {
    /// The image as it is.
    pub(crate) const UNCHANGED: Self = Self {
        top: 0,
        left: 0,
        flip: false,
    };
}

impl Augmentation {
    /// Whether it makes sense for the images of `dataset`: the padding is smaller than either side, and
    /// windows are of encoded images, which are larger than what the network sees.
    ///
    /// # Errors
    /// [`DataError::Value`] otherwise.
    pub fn check(&self, dataset: &Dataset) -> Result<(), DataError> {
        let shape = dataset.shape;
        if self.random_resized_crop && !dataset.is_encoded() {
            return Err(DataError::value(
                "augmentation.random_resized_crop",
                "true",
                format!(
                    "false for {}, whose images are of one size; crop_padding shifts those",
                    dataset.name
                ),
            ));
        }
        let side = shape.height.min(shape.width);
        if self.crop_padding < side {
            return Ok(());
        }
        Err(DataError::value(
            "augmentation.crop_padding",
            self.crop_padding.to_string(),
            format!("less than {side}, images are {shape}"),
        ))
    }

    /// What happens to record `sample` in `epoch`.
    pub(crate) fn draw(&self, seed: u64, epoch: u64, sample: u32) -> Placement {
        if *self == Self::default() {
            return Placement::UNCHANGED;
        }
        let mut random = stream(seed, Purpose::Augmentation, epoch, sample.into());
        // Far beyond any image: such a window is black wherever it lies.
        let padding = self.crop_padding.min(1 << 30) as u32;
        let mut offset = || below(&mut random, 2 * padding + 1) as isize - padding as isize;
        let (top, left) = (offset(), offset());
        // All three are always drawn: switching one off does not move another.
        let flip = below(&mut random, 2) == 1 && self.flip;
        Placement { top, left, flip }
    }
}

/// Writes the window of `image` at `placement` to `out`, C x H x W, through each channel's table.
pub(crate) fn render(
    image: &[u8],
    shape: ImageShape,
    placement: Placement,
    tables: &[[f32; 256]],
    out: &mut [f32],
) {
    let ImageShape { height, width, .. } = shape;
    let inside = overlap(placement.left, width);
    let planes = image
        .chunks_exact(shape.plane())
        .zip(out.chunks_exact_mut(shape.plane()));
    for (table, (plane, out)) in tables.iter().zip(planes) {
        let black = table[0];
        let value = |&pixel: &u8| table[usize::from(pixel)];
        for (y, out) in out.chunks_exact_mut(width).enumerate() {
            let row = y
                .checked_add_signed(placement.top)
                .filter(|&row| row < height);
            let Some(row) = row else {
                out.fill(black);
                continue;
            };
            let from = inside
                .start
                .saturating_add_signed(placement.left)
                .min(width);
            let pixels = &plane[row * width + from..][..inside.len()];
            let (before, rest) = out.split_at_mut(inside.start);
            let (middle, after) = rest.split_at_mut(inside.len());
            before.fill(black);
            after.fill(black);
            for (out, pixel) in middle.iter_mut().zip(pixels) {
                *out = value(pixel);
            }
            if placement.flip {
                out.reverse();
            }
        }
    }
}

/// Columns of the window that lie on the image, where it starts at column `left` of it.
fn overlap(left: isize, width: usize) -> std::ops::Range<usize> {
    let hidden = left.unsigned_abs().min(width);
    if left < 0 {
        hidden..width
    } else {
        0..width - hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Normalization;
    use crate::testing::random_dataset;
    use proptest::prelude::*;

    /// Pads, crops and mirrors one step after the other, pixel by pixel.
    fn naive(image: &[u8], shape: ImageShape, padding: usize, placement: Placement) -> Vec<u8> {
        let ImageShape {
            channels,
            height,
            width,
        } = shape;
        let (rows, columns) = (height + 2 * padding, width + 2 * padding);
        let mut out = Vec::new();
        for channel in 0..channels {
            let mut padded = vec![0; rows * columns];
            for y in 0..height {
                for x in 0..width {
                    let pixel = image[(channel * height + y) * width + x];
                    padded[(y + padding) * columns + x + padding] = pixel;
                }
            }
            for y in 0..height {
                for x in 0..width {
                    let x = if placement.flip { width - 1 - x } else { x };
                    let row = (y + padding) as isize + placement.top;
                    let column = (x + padding) as isize + placement.left;
                    out.push(padded[row as usize * columns + column as usize]);
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn rendering_is_padding_cropping_and_mirroring(
            height in 1usize..9, width in 1usize..9, padding in 0usize..12, flip: bool, seed: u64,
        ) {
            let shape = ImageShape { channels: 2, height, width };
            let image: Vec<u8> = (0..shape.values()).map(|value| value as u8 + 1).collect();
            let placement = Augmentation { crop_padding: padding, flip, ..Augmentation::default() }.draw(seed, 0, 0);
            let normalization = Normalization { mean: vec![0.4, 0.5], std: vec![0.2, 0.3] };
            let tables = normalization.tables();
            let mut out = vec![f32::NAN; shape.values()];
            render(&image, shape, placement, &tables, &mut out);
            let expected = naive(&image, shape, padding, placement);
            for (index, (value, pixel)) in out.iter().zip(expected).enumerate() {
                prop_assert_eq!(*value, tables[index / shape.plane()][usize::from(pixel)]);
            }
        }
    }

    #[test]
    fn every_offset_and_both_sides_are_drawn() {
        let augmentation = Augmentation {
            crop_padding: 1,
            flip: true,
            random_resized_crop: false,
        };
        let mut seen = Vec::new();
        for sample in 0..500 {
            let placement = augmentation.draw(0, 0, sample);
            if !seen.contains(&placement) {
                seen.push(placement);
            }
        }
        assert_eq!(seen.len(), 18);
        let unflipped = Augmentation {
            flip: false,
            ..augmentation.clone()
        };
        for sample in 0..100 {
            let placement = Placement {
                flip: false,
                ..augmentation.draw(0, 0, sample)
            };
            assert_eq!(unflipped.draw(0, 0, sample), placement);
        }
    }

    #[test]
    fn epochs_seeds_and_samples_differ() {
        let draws = |seed, epoch, first| {
            let augmentation = Augmentation {
                crop_padding: 4,
                flip: true,
                random_resized_crop: false,
            };
            (first..first + 20)
                .map(|sample| augmentation.draw(seed, epoch, sample))
                .collect::<Vec<_>>()
        };
        assert_eq!(draws(0, 0, 0), draws(0, 0, 0));
        assert_ne!(draws(0, 0, 0), draws(1, 0, 0));
        assert_ne!(draws(0, 0, 0), draws(0, 1, 0));
        assert_ne!(draws(0, 0, 0), draws(0, 0, 1));
    }

    #[test]
    fn nothing_happens_by_default_and_large_paddings_are_refused() {
        let augmentation: Augmentation = serde_json::from_str("{}").unwrap();
        assert_eq!(augmentation.draw(5, 6, 7), Placement::UNCHANGED);
        let dataset = random_dataset(1, 0);
        assert!(augmentation.check(&dataset).is_ok());
        let large = Augmentation {
            crop_padding: 999,
            ..augmentation.clone()
        };
        let line = large.check(&dataset).unwrap_err().to_string();
        assert!(
            line.starts_with("augmentation.crop_padding is 999, expected less than"),
            "{line}"
        );
        let windows = Augmentation {
            random_resized_crop: true,
            ..augmentation
        };
        let line = windows.check(&dataset).unwrap_err().to_string();
        assert!(line.contains("expected false for noise"), "{line}");
    }
}
