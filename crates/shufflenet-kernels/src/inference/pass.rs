//! One pass over a map, in bands of pixels that the threads share.
//!
//! A pass starts at a depthwise convolution and ends before the next. It ends a unit, and begins the next
//! unit by filling the maps that the next depthwise convolution reads. Rows and maps, which are read in later passes, are
//! stored in the chain's precision. What stays within a pass is float32.

use std::ops::Range;

use super::product::Place;
use super::units::{Band, Basic, Downsample};
use crate::kernels::map::MapShape;
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::Isa;
use crate::simd::stored::Stored;

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

/// Maps with a border of zeros: one for a stride-1 unit, two for a downsampling one.
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

/// Positions of the pixels of all images in maps of `shape`.
fn place(shape: MapShape) -> Place {
    Place {
        origin: shape.at(0, 0),
        image_pixels: shape.height * shape.width,
        line_pixels: shape.width,
        image: shape.len(),
        line: shape.row(),
        pixel: shape.channels,
    }
}

/// The unit after a pass.
#[derive(Clone, Copy)]
pub(super) enum Next<'a> {
    Basic(&'a Basic),
    Downsample(&'a Downsample),
    /// None: the pass writes the chain's last map.
    End,
}

impl Next<'_> {
    fn maps<T: Stored>(self, site: Site) -> Maps<T> {
        match self {
            Self::Basic(unit) => unit.maps(site),
            Self::Downsample(unit) => unit.maps(site),
            Self::End => Maps::new(site, [0, 0]),
        }
    }
}

/// Runs `work` on every band of `rows`, then the beginning of the `next` unit, and returns that unit's maps. A band is
/// computed in blocks of `block` pixels: what `work` has written is in the cache when the next unit reads it.
pub(super) fn pass<T: Stored>(
    isa: Isa,
    site: Site,
    bands: &[Range<usize>],
    block: usize,
    (rows, row): (&mut [T], usize),
    next: Next,
    work: impl Fn(&mut Band<T>) + Sync,
) -> Maps<T> {
    let mut next_maps = next.maps(site);
    let places = next_maps.shapes.map(place);
    let [right, left] = &mut next_maps.maps;
    let rows = cut(rows, bands, |pixel| pixel * row);
    let right = cut(right, bands, |pixel| places[0].at(pixel));
    let left = cut(left, bands, |pixel| places[1].at(pixel));
    let rows = bands.iter().zip(rows);
    let maps = right.into_iter().zip(left);
    team::map(rows.zip(maps), |_, ((pixels, (_, rows)), maps)| {
        let ((right_start, right), (left_start, left)) = maps;
        let blocks = pixels.clone().step_by(block);
        for (start, rows) in blocks.zip(rows.chunks_mut(block * row)) {
            let pixels = start..pixels.end.min(start + block);
            let mut band = Band { pixels, rows, row };
            work(&mut band);
            match next {
                Next::Basic(unit) => unit.enter(isa, &band, places[0], right_start, right),
                Next::Downsample(unit) => {
                    unit.enter_right(isa, &band, places[0], right_start, right);
                    unit.enter_left(isa, &band, places[1], left_start, left);
                }
                Next::End => {}
            }
        }
    });
    next_maps
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
