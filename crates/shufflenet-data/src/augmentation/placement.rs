//! Random crop and mirroring: the position of the window on an image, and whether it is mirrored.
//!
//! Equal to torchvision's `RandomCrop(size, padding=p)` and `RandomHorizontalFlip()` on u8 images: a border
//! of `p` pixels, black or the edge mirrored (`padding_mode="reflect"`), a window of the original size at a
//! uniformly random offset, then mirrored with probability 1/2. The crop happens during normalisation, so
//! each pixel is processed once.

use serde::{Deserialize, Serialize};

use super::Augmentation;
use crate::ImageShape;
use crate::random::{Purpose, below, stream};

/// Content of the border around an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Black.
    #[default]
    Zero,
    /// The image mirrored at its edge, without repeating the edge pixels.
    Reflect,
}

/// One draw of an augmentation: position of the window and mirroring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// First row of the window, relative to the image's first row: `-padding..=padding`.
    top: isize,
    /// First column of the window, relative to the image's first column: `-padding..=padding`.
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
    /// The window and the mirroring of record `sample` in `epoch`.
    pub(super) fn draw(&self, seed: u64, epoch: u64, sample: u32) -> Placement {
        if self.crop_padding == 0 && !self.flip {
            return Placement::UNCHANGED;
        }
        let mut random = stream(seed, Purpose::Augmentation, epoch, sample.into());
        // Far larger than any image: such a window is black at any offset.
        let padding = self.crop_padding.min(1 << 30) as u32;
        let mut offset = || below(&mut random, 2 * padding + 1) as isize - padding as isize;
        let (top, left) = (offset(), offset());
        // All three numbers are always drawn, so switching one off does not change the others.
        let mut flip = below(&mut random, 2) == 1;
        if self.alternating_flip {
            let first = below(&mut stream(seed, Purpose::Flip, 0, sample.into()), 2);
            flip = (u64::from(first) + epoch) % 2 == 1;
        }
        let flip = flip && self.flip;
        Placement { top, left, flip }
    }
}

/// Writes the window of `image` at `placement` to `out`, C x H x W, mapped by each channel's table.
pub(super) fn render<T: Copy>(
    image: &[u8],
    shape: ImageShape,
    placement: Placement,
    padding: Padding,
    tables: &[[T; 256]],
    out: &mut [T],
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
            let row = source(y, placement.top, height, padding);
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
            for (out, pixel) in middle.iter_mut().zip(pixels) {
                *out = value(pixel);
            }
            let border = |x: usize| match source(x, placement.left, width, padding) {
                Some(x) => value(&plane[row * width + x]),
                None => black,
            };
            let first_after = inside.end;
            before
                .iter_mut()
                .enumerate()
                .for_each(|(x, out)| *out = border(x));
            after
                .iter_mut()
                .enumerate()
                .for_each(|(x, out)| *out = border(first_after + x));
            if placement.flip {
                out.reverse();
            }
        }
    }
}

/// The row (or column) of an image with `side` rows (or columns) that appears at `place` of a window with
/// offset `start`; `None` for a black border.
fn source(place: usize, start: isize, side: usize, padding: Padding) -> Option<usize> {
    let (place, last) = (place as isize + start, side as isize - 1);
    let reflected = match padding {
        Padding::Zero => place,
        Padding::Reflect if place < 0 => -place,
        Padding::Reflect if place > last => 2 * last - place,
        Padding::Reflect => place,
    };
    usize::try_from(reflected)
        .ok()
        .filter(|&place| place < side)
}

/// Columns of the window that are on the image, for a window that starts at the image's column `left`.
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

    /// Reference implementation: pads, crops and mirrors in separate steps, pixel by pixel.
    fn naive(
        image: &[u8],
        shape: ImageShape,
        padding: usize,
        mode: Padding,
        placement: Placement,
    ) -> Vec<u8> {
        let ImageShape {
            channels,
            height,
            width,
        } = shape;
        let (rows, columns) = (height + 2 * padding, width + 2 * padding);
        let mut out = Vec::new();
        for channel in 0..channels {
            let mut padded = vec![0; rows * columns];
            let mirrored = |place: usize, side: usize| {
                let place = place as isize - padding as isize;
                let last = side as isize - 1;
                match mode {
                    Padding::Zero => place,
                    Padding::Reflect => last - (last - place.abs()).abs(),
                }
            };
            for y in 0..rows {
                for x in 0..columns {
                    let (row, column) = (mirrored(y, height), mirrored(x, width));
                    let inside = (0..height as isize).contains(&row)
                        && (0..width as isize).contains(&column);
                    if inside {
                        let row = channel * height + row as usize;
                        padded[y * columns + x] = image[row * width + column as usize];
                    }
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
        fn rendering_equals_padding_cropping_and_mirroring(
            height in 1usize..9, width in 1usize..9, padding in 0usize..12, flip: bool, reflect: bool, seed: u64,
        ) {
            let shape = ImageShape { channels: 2, height, width };
            let image: Vec<u8> = (0..shape.values()).map(|value| value as u8 + 1).collect();
            let placement = Augmentation { crop_padding: padding, flip, ..Augmentation::default() }.draw(seed, 0, 0);
            let normalization = Normalization { mean: vec![0.4, 0.5], std: vec![0.2, 0.3] };
            let tables = normalization.tables();
            let mut out = vec![f32::NAN; shape.values()];
            let (padding, mode) = match reflect {
                // A larger padding leaves nothing to mirror, and `check` refuses it.
                true if padding >= height.min(width) => return Ok(()),
                true => (padding, Padding::Reflect),
                false => (padding, Padding::Zero),
            };
            render(&image, shape, placement, mode, &tables, &mut out);
            let expected = naive(&image, shape, padding, mode, placement);
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
            ..Augmentation::default()
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
    fn two_epochs_of_alternating_flips_show_both_sides_of_every_image() {
        let augmentation = Augmentation {
            flip: true,
            alternating_flip: true,
            ..Augmentation::default()
        };
        let flips = |epoch| -> Vec<bool> {
            let flip = |sample| augmentation.draw(3, epoch, sample).flip;
            (0..200).map(flip).collect()
        };
        let first = flips(1);
        let mirrored = first.iter().filter(|&&flip| flip).count();
        assert!((60..140).contains(&mirrored), "{mirrored}");
        assert!(first.iter().zip(flips(2)).all(|(a, b)| *a != b));
        assert_eq!(first, flips(3));
    }

    #[test]
    fn epochs_seeds_and_samples_differ() {
        let draws = |seed, epoch, first| {
            let augmentation = Augmentation {
                crop_padding: 4,
                flip: true,
                ..Augmentation::default()
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
    fn the_default_changes_nothing_and_large_paddings_are_refused() {
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
            line.starts_with("data.augmentation.crop_padding is 999; accepted: less than"),
            "{line}"
        );
        let windows = Augmentation {
            random_resized_crop: true,
            ..augmentation
        };
        let line = windows.check(&dataset).unwrap_err().to_string();
        assert!(line.contains("accepted: false for noise"), "{line}");
    }
}
