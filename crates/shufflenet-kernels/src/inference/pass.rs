//! One pass over a map, in bands of pixels that the threads share.
//!
//! A pass starts at a depthwise convolution and ends before the next. It ends a unit, and begins the next
//! unit by filling the maps that the next depthwise convolution reads. Rows and maps, which are read in later passes, are
//! stored in the chain's precision. What stays within a pass is float32.

use std::ops::Range;

use super::maps::Maps;
use super::place::Place;
use super::site::{Band, Site, cut};
use super::units::{Basic, Downsample};
use crate::runtime::team;
use crate::simd::Isa;
use crate::simd::stored::Stored;

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
    let places = next_maps.shapes.map(Place::maps);
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
                Next::Basic(unit) => {
                    unit.entrance.run(isa, &band, places[0], right_start, right);
                }
                Next::Downsample(unit) => {
                    unit.entrance.run(isa, &band, places[0], right_start, right);
                    unit.enter_left(isa, &band, places[1], left_start, left);
                }
                Next::End => {}
            }
        }
    });
    next_maps
}
