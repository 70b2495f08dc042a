//! The layers of a branch (figure 3 of the paper) in two parts, on both sides of the maps between two passes: the first 1x1
//! convolution, which fills the maps, and the depthwise and the last 1x1 convolution, which read them.

use std::ops::Range;

use half::bf16;

use super::depthwise::{Taps, depthwise};
use super::folded::Folded;
use super::place::Place;
use super::pointwise::{self, Pointwise};
use super::reading::{Left, Reading};
use super::site::Band;
use crate::kernels::map::MapShape;
use crate::kernels::rows::Rows;
use crate::precision::Precision;
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Products};

/// The beginning of a branch: 1x1, ReLU.
pub(super) struct Entrance {
    pub pointwise: Pointwise,
    reading: Reading,
}

impl Entrance {
    pub fn new((isa, precision): (Isa, Precision), layer: &Folded, read: &[usize]) -> Self {
        let (reading, pointwise) = pointwise::reading(isa, precision, layer, read);
        Self { pointwise, reading }
    }

    /// Computes the convolution of the band's rows into the maps; `map` starts at their value `start`.
    pub fn run<T: Stored>(
        &self,
        isa: Isa,
        band: &Band<T>,
        place: Place,
        start: usize,
        map: &mut [T],
    ) {
        let rows = band.pixels.len();
        let x = Rows::new(&*band.rows, band.row);
        let read = self.reading.read(isa, x, rows);
        let (place, panels) = ((place, band.pixels.start), self.pointwise.weights.all());
        let left = read.left();
        self.pointwise
            .run(isa, rows, left, panels, (map, start), place);
    }
}

/// The end of a branch: depthwise, 1x1, ReLU.
pub(super) struct Exit {
    pub taps: Taps,
    pub pointwise: Pointwise,
    /// First column of the branch's output.
    pub column: usize,
}

impl Exit {
    /// Columns of the branch's output.
    pub fn columns(&self) -> Range<usize> {
        self.column..self.column + self.pointwise.weights.outputs()
    }

    /// `places[k]` is the place of the 1x1 convolution's input `k` among the depthwise convolution's channels.
    pub fn new(
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
    pub fn run<T: Stored, U: Stored>(
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
