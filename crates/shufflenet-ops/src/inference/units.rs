//! Both units: the columns of a pixel's row that each reads, and the columns that it appends.

use std::ops::Range;

use super::columns::{joined, runs};
use super::depthwise::{Depthwise, Taps};
use super::pass::{Maps, Site};
use super::product::{Place, Product, Weights};
use super::weights::Folded;
use crate::kernels::map::MapShape;
use crate::runtime::buffer::Buffer;
use crate::simd::Isa;

/// Rows of some pixels; pixels are counted over all images of a site.
pub(super) struct Band<'a> {
    pub pixels: Range<usize>,
    pub rows: &'a mut [f32],
    /// Values of a row.
    pub row: usize,
}

/// The end of a branch: depthwise, 1x1, ReLU.
struct Exit {
    taps: Taps,
    pointwise: Weights,
    /// First column of the branch's output.
    column: usize,
}

impl Exit {
    fn columns(&self) -> Range<usize> {
        self.column..self.column + self.pointwise.outputs()
    }

    fn new(isa: Isa, depthwise: &Folded, pointwise: Weights, stride: usize, column: usize) -> Self {
        assert_eq!(depthwise.inputs(), 9, "terms of a depthwise convolution");
        assert_eq!(
            depthwise.outputs(),
            pointwise.terms.len(),
            "channels of a branch"
        );
        Self {
            taps: Taps::new(isa, depthwise, stride),
            pointwise,
            column,
        }
    }

    fn run(&self, isa: Isa, maps: &[f32], shape: MapShape, band: &mut Band) {
        let (taps, pixels) = (&self.taps, band.pixels.clone());
        let mut y = Buffer::any(pixels.len() * taps.channels());
        isa.run(Depthwise {
            shape,
            maps,
            taps,
            pixels: pixels.clone(),
            out: &mut y,
        });
        isa.run(Product {
            rows: pixels.len(),
            left: &y,
            left_row: taps.channels(),
            terms: &self.pointwise.terms,
            weights: &self.pointwise,
            panels: self.pointwise.all(),
            relu: true,
            out: band.rows,
            out_start: pixels.start * band.row,
            place: Place::rows(band.row, self.column),
            first: pixels.start,
        });
    }
}

/// The stride-1 unit.
pub(super) struct Basic {
    entrance: Weights,
    exit: Exit,
    /// The input columns that are added to the output columns, one by one.
    residual: Option<Vec<usize>>,
}

impl Basic {
    /// A unit that reads the right side's channels from the columns `read` and writes its columns from
    /// `column` on.
    pub fn new(
        isa: Isa,
        read: &[usize],
        [pointwise1, depthwise, pointwise2]: &[Folded; 3],
        residual: bool,
        column: usize,
    ) -> Self {
        let outputs = pointwise2.outputs();
        assert_eq!(
            pointwise1.outputs(),
            depthwise.outputs(),
            "channels of a branch"
        );
        assert!(
            !residual || outputs == read.len(),
            "a residual adds equal widths"
        );
        Self {
            entrance: Weights::new(isa, pointwise1, read),
            exit: Exit::new(isa, depthwise, last(isa, pointwise2), 1, column),
            residual: residual.then(|| read.to_vec()),
        }
    }

    /// Column of each channel of the unit's output; `passed` are the columns of the channels passed on.
    pub fn columns(&self, passed: &[usize]) -> Vec<usize> {
        joined(passed, &Vec::from_iter(self.exit.columns()))
    }

    /// Number of channels that the unit appends.
    pub fn outputs(&self) -> usize {
        self.exit.pointwise.outputs()
    }

    pub fn maps(&self, site: Site) -> Maps {
        Maps::new(site, [self.entrance.padded(), 0])
    }

    /// Computes the first 1x1 convolution into the maps.
    pub fn enter(&self, isa: Isa, band: &Band, place: Place, start: usize, map: &mut [f32]) {
        enter(isa, &self.entrance, band, place, start, map);
    }

    /// Computes the rest of the unit into the rows.
    pub fn exit(&self, isa: Isa, maps: &Maps, band: &mut Band) {
        let [map, _] = &maps.maps;
        self.exit.run(isa, map, maps.shapes[0], band);
        let Some(residual) = &self.residual else {
            return;
        };
        for row in band.rows.chunks_exact_mut(band.row) {
            for (own, read) in self.exit.columns().zip(residual) {
                row[own] += row[*read];
            }
        }
    }
}

/// The stride-2 unit. Its rows start a stage: the right branch's columns come first, then the left's.
pub(super) struct Downsample {
    entrance: Weights,
    right: Exit,
    left: Exit,
    /// All input channels in the order of their columns, as runs of neighbouring columns.
    runs: Vec<[usize; 3]>,
}

impl Downsample {
    /// A unit that reads the input's channels from the columns `read`.
    pub fn new(
        isa: Isa,
        read: &[usize],
        [pointwise1, depthwise, pointwise2]: &[Folded; 3],
        [left_depthwise, left_pointwise]: &[Folded; 2],
    ) -> Self {
        // The left branch works on the channels in the order of their columns.
        let mut order: Vec<usize> = (0..read.len()).collect();
        order.sort_by_key(|&channel| read[channel]);
        let mut places = vec![0; read.len()];
        for (place, &channel) in order.iter().enumerate() {
            places[channel] = place;
        }
        let lying: Vec<usize> = order.iter().map(|&channel| read[channel]).collect();
        let reordered = Folded {
            weight: order
                .iter()
                .flat_map(|&channel| &left_depthwise.weight[9 * channel..][..9])
                .copied()
                .collect(),
            bias: order.iter().map(|&c| left_depthwise.bias[c]).collect(),
        };
        assert_eq!(
            pointwise1.outputs(),
            depthwise.outputs(),
            "channels of a branch"
        );
        let right = Exit::new(isa, depthwise, last(isa, pointwise2), 2, 0);
        let left = Weights::new(isa, left_pointwise, &places);
        Self {
            entrance: Weights::new(isa, pointwise1, read),
            left: Exit::new(isa, &reordered, left, 2, right.pointwise.padded()),
            right,
            runs: runs(&lying),
        }
    }

    /// Column of each channel of the unit's output.
    pub fn columns(&self, right_first: bool) -> Vec<usize> {
        let [right, left] = [&self.right, &self.left].map(|exit| Vec::from_iter(exit.columns()));
        match right_first {
            true => joined(&right, &left),
            false => joined(&left, &right),
        }
    }

    /// Number of values of a row with the unit's output.
    pub fn row(&self) -> usize {
        self.left.column + self.left.pointwise.padded()
    }

    pub fn maps(&self, site: Site) -> Maps {
        Maps::new(site, [self.entrance.padded(), self.left.taps.channels()])
    }

    /// Computes the right branch's first 1x1 convolution into the first maps.
    pub fn enter_right(&self, isa: Isa, band: &Band, place: Place, start: usize, map: &mut [f32]) {
        enter(isa, &self.entrance, band, place, start, map);
    }

    /// Copies the left branch's input into the second maps.
    pub fn enter_left(&self, band: &Band, place: Place, start: usize, map: &mut [f32]) {
        let channels = self.left.taps.channels();
        for (pixel, row) in band.pixels.clone().zip(band.rows.chunks_exact(band.row)) {
            let to = &mut map[place.at(pixel) - start..][..channels];
            let mut filled = 0;
            for &[at, column, len] in &self.runs {
                to[at..at + len].copy_from_slice(&row[column..column + len]);
                filled = at + len;
            }
            to[filled..].fill(0.0);
        }
    }

    /// Computes the rest of both branches into the rows.
    pub fn exit(&self, isa: Isa, maps: &Maps, band: &mut Band) {
        let ([right, left], [right_shape, left_shape]) = (&maps.maps, maps.shapes);
        self.right.run(isa, right, right_shape, band);
        self.left.run(isa, left, left_shape, band);
    }
}

/// Computes a 1x1 convolution of the band's rows into the maps; `map` starts at their value `start`.
fn enter(isa: Isa, weights: &Weights, band: &Band, place: Place, start: usize, map: &mut [f32]) {
    isa.run(Product {
        rows: band.pixels.len(),
        left: band.rows,
        left_row: band.row,
        terms: &weights.terms,
        weights,
        panels: weights.all(),
        relu: true,
        out: map,
        out_start: start,
        place,
        first: band.pixels.start,
    });
}

/// Weights of a branch's last 1x1 convolution, which reads the depthwise convolution's output in order.
fn last(isa: Isa, layer: &Folded) -> Weights {
    Weights::new(isa, layer, &Vec::from_iter(0..layer.inputs()))
}
