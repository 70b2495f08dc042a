//! The size of some images' maps, and bands of their pixels, which threads share.

use std::ops::Range;

/// Number and size of some images' maps.
#[derive(Clone, Copy)]
pub(super) struct Site {
    pub images: usize,
    pub height: usize,
    pub width: usize,
}

impl Site {
    pub fn pixels(&self) -> usize {
        self.images * self.height * self.width
    }

    /// The site after a stride of 2.
    pub fn halved(&self) -> Self {
        Self {
            height: self.height.div_ceil(2),
            width: self.width.div_ceil(2),
            ..*self
        }
    }

    /// All pixels in at most `count` bands of equal size; the last may be smaller.
    pub fn bands(&self, count: usize) -> Vec<Range<usize>> {
        let (pixels, band) = (self.pixels(), self.pixels().div_ceil(count).max(1));
        let starts = (0..pixels).step_by(band);
        starts
            .map(|start| start..(start + band).min(pixels))
            .collect()
    }
}

/// Rows of some pixels; pixels are counted over all images of a site.
pub(super) struct Band<'a, T> {
    pub pixels: Range<usize>,
    pub rows: &'a mut [T],
    /// Values of a row.
    pub row: usize,
}

/// Cuts `values` into a piece for each band, and returns each with its start. A piece reaches from the index
/// `at` of the band's first pixel to that of the next band.
pub(super) fn cut<'a, T>(
    values: &'a mut [T],
    bands: &[Range<usize>],
    at: impl Fn(usize) -> usize,
) -> Vec<(usize, &'a mut [T])> {
    let (mut rest, mut start) = (values, 0);
    let ends = bands.iter().skip(1).map(|band| Some(at(band.start)));
    ends.chain([None])
        .map(|end| {
            let here = start;
            let len = end.map_or(rest.len(), |end| (end - here).min(rest.len()));
            start += len;
            let (piece, behind) = std::mem::take(&mut rest).split_at_mut(len);
            rest = behind;
            (here, piece)
        })
        .collect()
}
