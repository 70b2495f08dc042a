//! Both units: the columns of a pixel's row that each reads, and the columns that it appends.

use std::ops::Range;

use half::bf16;

use super::columns::{joined, runs};
use super::depthwise::{Taps, depthwise};
use super::pass::{Maps, Site};
use super::pointwise::{Pointwise, products};
use super::product::Place;
use super::reading::{Left, Reading};
use super::weights::Folded;
use crate::kernels::map::MapShape;
use crate::kernels::rows::{Copy, Rows};
use crate::precision::Precision;
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Products, Simd};

/// Rows of some pixels; pixels are counted over all images of a site.
pub(super) struct Band<'a, T> {
    pub pixels: Range<usize>,
    pub rows: &'a mut [T],
    /// Values of a row.
    pub row: usize,
}

/// The end of a branch: depthwise, 1x1, ReLU.
struct Exit {
    taps: Taps,
    pointwise: Pointwise,
    /// First column of the branch's output.
    column: usize,
}

impl Exit {
    fn columns(&self) -> Range<usize> {
        self.column..self.column + self.pointwise.weights.outputs()
    }

    /// `places[k]` is the place of the 1x1 convolution's input `k` among the depthwise convolution's channels.
    fn new(
        (isa, precision): (Isa, Precision),
        depthwise: &Folded,
        (pointwise, places): (&Folded, &[usize]),
        stride: usize,
        column: usize,
    ) -> Self {
        assert_eq!(depthwise.inputs(), 9, "terms of a depthwise convolution");
        assert_eq!(
            depthwise.outputs(),
            pointwise.inputs(),
            "channels of a branch"
        );
        let taps = Taps::new(isa, depthwise, stride);
        let packed = (places, taps.channels());
        Self {
            pointwise: Pointwise::new(isa, precision, pointwise, places, packed),
            taps,
            column,
        }
    }

    /// Computes the branch's outputs for some pixels into `out`, at the positions `place`.
    fn run<T: Stored, U: Stored>(
        &self,
        isa: Isa,
        (maps, shape): (&[T], MapShape),
        pixels: &Range<usize>,
        out: &mut [U],
        place: Place,
    ) {
        let (taps, pointwise) = (&self.taps, &self.pointwise);
        let (rows, channels) = (pixels.len(), taps.channels());
        let mut run = |left: Left| {
            let panels = pointwise.weights.all();
            pointwise.run(isa, rows, left, panels, (out, 0), (place, 0));
        };
        if pointwise.products() == Products::Pairs {
            let mut y = Buffer::<bf16>::any(rows * channels);
            depthwise(isa, taps, (maps, shape), pixels, &mut y);
            return run(Left::Bf16(Rows::new(&y, channels)));
        }
        // In float32, because it stays in the cache.
        let mut y = Buffer::<f32>::any(rows * channels);
        depthwise(isa, taps, (maps, shape), pixels, &mut y);
        run(Left::Float32(
            Rows::new(&y, channels),
            &pointwise.weights.terms,
        ));
    }
}

/// The stride-1 unit.
pub(super) struct Basic {
    entrance: Entrance,
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
        self.entrance.pointwise.weights.values() + self.exit.pointwise.weights.values()
    }

    /// Computes the first 1x1 convolution into the maps.
    pub fn enter<T: Stored>(
        &self,
        isa: Isa,
        band: &Band<T>,
        place: Place,
        start: usize,
        map: &mut [T],
    ) {
        self.entrance.run(isa, band, place, start, map);
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
    entrance: Entrance,
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
        let exits = [&self.right, &self.left].map(|exit| exit.pointwise.weights.values());
        self.entrance.pointwise.weights.values() + exits.iter().sum::<usize>()
    }

    /// Computes the right branch's first 1x1 convolution into the first maps.
    pub fn enter_right<T: Stored>(
        &self,
        isa: Isa,
        band: &Band<T>,
        place: Place,
        start: usize,
        map: &mut [T],
    ) {
        self.entrance.run(isa, band, place, start, map);
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

/// The beginning of a branch: 1x1, ReLU.
struct Entrance {
    pointwise: Pointwise,
    reading: Reading,
}

impl Entrance {
    fn new((isa, precision): (Isa, Precision), layer: &Folded, read: &[usize]) -> Self {
        let (reading, pointwise) = reading(isa, precision, layer, read);
        Self { pointwise, reading }
    }

    /// Computes the convolution of the band's rows into the maps; `map` starts at their value `start`.
    fn run<T: Stored>(&self, isa: Isa, band: &Band<T>, place: Place, start: usize, map: &mut [T]) {
        let rows = band.pixels.len();
        let x = Rows::new(&*band.rows, band.row);
        let read = self.reading.read(isa, x, rows);
        let (place, panels) = ((place, band.pixels.start), self.pointwise.weights.all());
        let left = read.left();
        self.pointwise
            .run(isa, rows, left, panels, (map, start), place);
    }
}

/// A 1x1 convolution of the columns `read`, and how these are read.
pub(super) fn reading(
    isa: Isa,
    precision: Precision,
    layer: &Folded,
    read: &[usize],
) -> (Reading, Pointwise) {
    let mut columns: Vec<u32> = read.iter().map(|&column| column as u32).collect();
    columns.sort_unstable();
    let pairs = products(isa, precision) == Products::Pairs;
    let reading = Reading::new(isa, &columns, pairs);
    let place = |&column: &usize| {
        let number = columns.partition_point(|&before| before < column as u32);
        reading.places()[number] as usize
    };
    let packed: Vec<usize> = read.iter().map(place).collect();
    let packed = (&packed[..], reading.width(isa));
    let pointwise = Pointwise::new(isa, precision, layer, read, packed);
    (reading, pointwise)
}

/// Copies runs of columns of a band's rows into maps, with zeros in the padded channels.
struct CopyRuns<'a, T> {
    /// Ascending, without a gap in the maps.
    runs: &'a [[usize; 3]],
    /// Channels of the maps.
    channels: usize,
    band: &'a Band<'a, T>,
    /// Positions of the pixels; `map` starts at the maps' value `start`.
    place: Place,
    start: usize,
    map: &'a mut [T],
}

impl<T: Stored> Kernel for CopyRuns<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut places = self.place.from(self.band.pixels.start);
        for row in self.band.rows.chunks_exact(self.band.row) {
            let to = &mut self.map[places.step() - self.start..][..self.channels];
            let mut filled = 0;
            for &[at, column, len] in self.runs {
                let (from, to) = (&row[column..column + len], &mut to[at..at + len]);
                for i in (0..len).step_by(S::LANES) {
                    // SAFETY: both sides have `len` values; the last vector is cut.
                    unsafe {
                        let v = T::load_first(s, from.as_ptr().add(i), len - i);
                        T::store_first(s, to.as_mut_ptr().add(i), len - i, v);
                    }
                }
                filled = at + len;
            }
            to[filled..].fill(T::ZERO);
        }
    }
}

/// The places of inputs that are read in order.
fn in_order(layer: &Folded) -> Vec<usize> {
    (0..layer.inputs()).collect()
}
