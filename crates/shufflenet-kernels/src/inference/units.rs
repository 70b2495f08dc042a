//! Both units: the columns of a pixel's row that each reads, and the columns that it appends.

use super::branch::{Entrance, Exit};
use super::columns::joined;
use super::folded::Folded;
use super::maps::Maps;
use super::place::Place;
use super::runs::{CopyRuns, runs};
use super::site::{Band, Site};
use crate::kernels::rows::{Copy, Rows};
use crate::precision::Precision;
use crate::runtime::buffer::Buffer;
use crate::simd::Isa;
use crate::simd::stored::Stored;

/// The stride-1 unit.
pub(super) struct Basic {
    /// The first 1x1 convolution, into the maps.
    pub entrance: Entrance,
    exit: Exit,
    /// The input columns that are added to the output columns, one by one.
    residual: Option<Vec<usize>>,
}

impl Basic {
    /// A unit that reads the right side's channels from the columns `read` and writes its columns from
    /// `column` on.
    pub fn new(
        (isa, precision): (Isa, Precision),
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
            entrance: Entrance::new((isa, precision), pointwise1, read),
            exit: Exit::new(
                (isa, precision),
                depthwise,
                (pointwise2, &in_order(pointwise2)),
                1,
                column,
            ),
            residual: residual.then(|| read.to_vec()),
        }
    }

    /// Column of each channel of the unit's output; `passed` are the columns of the channels passed on.
    pub fn columns(&self, passed: &[usize]) -> Vec<usize> {
        joined(passed, &Vec::from_iter(self.exit.columns()))
    }

    /// Number of channels that the unit appends.
    pub fn outputs(&self) -> usize {
        self.exit.pointwise.weights.outputs()
    }

    pub fn maps<T: Stored>(&self, site: Site) -> Maps<T> {
        Maps::new(site, [self.entrance.pointwise.weights.padded(), 0])
    }

    /// Number of values of the weights.
    pub fn weights(&self) -> usize {
        self.entrance.pointwise.weights.values.len() + self.exit.pointwise.weights.values.len()
    }

    /// Computes the rest of the unit into the rows.
    pub fn exit<T: Stored>(&self, isa: Isa, maps: &Maps<T>, band: &mut Band<T>) {
        let (map, pixels) = ((&maps.maps[0][..], maps.shapes[0]), &band.pixels);
        let Some(residual) = &self.residual else {
            let place = Place::rows(band.row, self.exit.column);
            self.exit.run(isa, map, pixels, band.rows, place);
            return;
        };
        // The sum is rounded once, so the branch's output is not rounded before.
        let width = self.exit.pointwise.weights.padded();
        let mut y = Buffer::<f32>::any(pixels.len() * width);
        let place = Place::rows(width, 0);
        self.exit.run(isa, map, pixels, &mut y, place);
        for (y, row) in y.chunks_exact_mut(width).zip(band.rows.chunks(band.row)) {
            for (y, read) in y.iter_mut().zip(residual) {
                *y += row[*read].widened();
            }
        }
        isa.run(Copy {
            rows: pixels.len(),
            columns: width,
            x: Rows::new(&y, width),
            out: &mut band.rows[self.exit.column..],
            out_stride: band.row,
        });
    }
}

/// The stride-2 unit. Its rows start a stage: the right branch's columns come first, then the left's.
pub(super) struct Downsample {
    /// The right branch's first 1x1 convolution, into the first maps.
    pub entrance: Entrance,
    right: Exit,
    left: Exit,
    /// All input channels in the order of their columns, as runs of neighbouring columns.
    runs: Vec<[usize; 3]>,
}

impl Downsample {
    /// A unit that reads the input's channels from the columns `read`.
    pub fn new(
        (isa, precision): (Isa, Precision),
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
        let at = (isa, precision);
        let right = (pointwise2, &in_order(pointwise2)[..]);
        let right = Exit::new(at, depthwise, right, 2, 0);
        let left = (left_pointwise, &places[..]);
        let behind = right.pointwise.weights.padded();
        Self {
            entrance: Entrance::new(at, pointwise1, read),
            left: Exit::new(at, &reordered, left, 2, behind),
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
        self.left.column + self.left.pointwise.weights.padded()
    }

    pub fn maps<T: Stored>(&self, site: Site) -> Maps<T> {
        Maps::new(site, self.map_channels())
    }

    /// Channels of both maps.
    pub fn map_channels(&self) -> [usize; 2] {
        [
            self.entrance.pointwise.weights.padded(),
            self.left.taps.channels(),
        ]
    }

    /// Number of values of the weights.
    pub fn weights(&self) -> usize {
        let exits = [&self.right, &self.left].map(|exit| exit.pointwise.weights.values.len());
        self.entrance.pointwise.weights.values.len() + exits.iter().sum::<usize>()
    }

    /// Copies the left branch's input into the second maps.
    pub fn enter_left<T: Stored>(
        &self,
        isa: Isa,
        band: &Band<T>,
        place: Place,
        start: usize,
        map: &mut [T],
    ) {
        isa.run(CopyRuns {
            runs: &self.runs,
            channels: self.left.taps.channels(),
            band,
            place,
            start,
            map,
        });
    }

    /// Computes the rest of both branches into the rows.
    pub fn exit<T: Stored>(&self, isa: Isa, maps: &Maps<T>, band: &mut Band<T>) {
        let pixels = &band.pixels;
        for (exit, i) in [(&self.right, 0), (&self.left, 1)] {
            let place = Place::rows(band.row, exit.column);
            let map = (&maps.maps[i][..], maps.shapes[i]);
            exit.run(isa, map, pixels, band.rows, place);
        }
    }
}

/// The places of inputs that are read in order.
fn in_order(layer: &Folded) -> Vec<usize> {
    (0..layer.inputs()).collect()
}
