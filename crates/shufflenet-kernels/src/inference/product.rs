//! The matrix product of inference: 1x1 convolutions, the stem's 3x3 ones, the classifier.
//!
//! ```text
//! out[i][j] = activation(bias[j] + sum over k of left[i * left_row + terms[k]] * weight[k][j])
//! ```
//!
//! `terms` has the positions of a sum's terms: the columns that a unit reads, or the nine positions of
//! a window. A term is a float32, or two neighbours in bfloat16 ([`Operand`]); a neighbour that is not read has the weight zero.
//! Weights are packed in panels of a few vectors, so that a panel is read in order.

use std::ops::Range;

use super::pass::cut;
use super::weights::Folded;
use crate::kernels::operand::Operand;
use crate::kernels::packing;
use crate::kernels::panels::{panel, sized_tile};
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Simd};

/// Packed weights with the positions of the terms that they are multiplied by.
pub(super) struct Weights<O: Operand = f32> {
    /// Positions of the left side's operands, from the start of its row.
    pub terms: Vec<u32>,
    panels: Vec<Panel>,
    values: Buffer<O::Term>,
    bias: Buffer,
    outputs: usize,
    lanes: usize,
}

/// Some columns of the result, whole vectors.
struct Panel {
    /// Index of the panel's first vector.
    first: usize,
    /// Number of the panel's vectors.
    width: usize,
    /// Index of the panel's first operand; the panel has `width` vectors per term.
    start: usize,
}

impl<O: Operand> Weights<O> {
    /// Packs `layer`, whose input `k` is at `places[k]`. Sums run in the order of the places.
    pub fn new(isa: Isa, layer: &Folded, places: &[usize]) -> Self {
        let (inputs, outputs, lanes) = (layer.inputs(), layer.outputs(), isa.lanes());
        assert_eq!(places.len(), inputs, "a place for each input");
        let mut terms: Vec<usize> = places.iter().map(|place| place / O::TERMS).collect();
        terms.sort_unstable();
        terms.dedup();
        let vectors = outputs.div_ceil(lanes);
        let mut values = Buffer::zeros(terms.len() * vectors * lanes * O::TERMS);
        let mut panels = Vec::new();
        let (mut first, mut start) = (0, 0);
        while first < vectors {
            let width = panel(isa.tile_rows(), vectors - first);
            let columns = first * lanes..((first + width) * lanes).min(outputs);
            for (k, place) in places.iter().enumerate() {
                let row = terms.partition_point(|term| *term < place / O::TERMS);
                let row = (start + row * width * lanes) * O::TERMS;
                let row = values[row..].iter_mut().skip(place % O::TERMS);
                for (value, j) in row.step_by(O::TERMS).zip(columns.clone()) {
                    *value = O::term(layer.weight[j * inputs + k]);
                }
            }
            panels.push(Panel {
                first,
                width,
                start,
            });
            first += width;
            start += terms.len() * width * lanes;
        }
        Self {
            terms: terms.into_iter().map(|term| term as u32).collect(),
            panels,
            values,
            bias: packing::padded(isa, &layer.bias, outputs),
            outputs,
            lanes,
        }
    }

    /// Number of columns of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of columns of the result, padded to whole vectors.
    pub fn padded(&self) -> usize {
        self.bias.len()
    }

    /// The bias, padded with zeros.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Number of values, with the padding.
    pub fn values(&self) -> usize {
        self.values.len()
    }

    /// Range of all panels.
    pub fn all(&self) -> Range<usize> {
        0..self.panels.len()
    }

    /// Columns of the result that `panel` has, counted from those of the panel `first`.
    pub fn columns(&self, first: usize, panel: usize) -> Range<usize> {
        let start = (self.panels[panel].first - self.panels[first].first) * self.lanes;
        start..start + self.panels[panel].width * self.lanes
    }

    /// Runs `work` on all panels in `shares` shares, each with its columns of `out`. `out` has rows of
    /// [`Self::padded`] values; it may have more than one row only if there is a single share.
    pub fn share_out(
        &self,
        shares: usize,
        out: &mut [f32],
        work: impl Fn(Range<usize>, &mut [f32]) + Sync,
    ) {
        assert!(
            shares == 1 || out.len() == self.padded(),
            "a share is part of one row"
        );
        let share = self.panels.len().div_ceil(shares);
        let panels: Vec<_> = (0..self.panels.len())
            .step_by(share)
            .map(|start| start..(start + share).min(self.panels.len()))
            .collect();
        let pieces = cut(out, &panels, |panel| self.panels[panel].first * self.lanes);
        team::map(panels.into_iter().zip(pieces), |_, (panels, (_, out))| {
            work(panels, out);
        });
    }
}

/// Positions of a result's rows: one after the other, or as pixels of maps with a border.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Position of pixel 0.
    pub origin: usize,
    /// Number of pixels of an image. `line_pixels` is that of one of its lines.
    pub image_pixels: usize,
    pub line_pixels: usize,
    /// Values from image to image. `line` is the distance from line to line, `pixel` from pixel to pixel.
    pub image: usize,
    pub line: usize,
    pub pixel: usize,
}

impl Place {
    /// Positions of rows of `stride` values, written from column `column` on.
    pub fn rows(stride: usize, column: usize) -> Self {
        Self {
            origin: column,
            image_pixels: usize::MAX,
            line_pixels: usize::MAX,
            image: 0,
            line: 0,
            pixel: stride,
        }
    }

    /// Position of the first value of pixel `i`.
    pub fn at(&self, i: usize) -> usize {
        self.from(i).at
    }

    /// The positions of pixel `first` and those after it. (A division for each pixel would take as long as the
    /// products of narrow layers.)
    #[inline(always)]
    pub fn from(self, first: usize) -> Positions {
        let (image, i) = (first / self.image_pixels, first % self.image_pixels);
        let (line, column) = (i / self.line_pixels, i % self.line_pixels);
        let image_at = self.origin + image * self.image;
        let line_at = image_at + line * self.line;
        Positions {
            place: self,
            image_at,
            line_at,
            at: line_at + column * self.pixel,
            lines: self.image_pixels / self.line_pixels - line,
            pixels: self.line_pixels - column,
        }
    }
}

/// Positions of pixels, one after the other.
pub(super) struct Positions {
    place: Place,
    /// Positions of the pixel's image, of its line, and of the pixel.
    image_at: usize,
    line_at: usize,
    at: usize,
    /// Lines of the image from the pixel's on, and pixels of the line from the pixel on.
    lines: usize,
    pixels: usize,
}

impl Positions {
    /// Position of the next pixel.
    #[inline(always)]
    pub fn step(&mut self) -> usize {
        let here = self.at;
        self.at += self.place.pixel;
        self.pixels -= 1;
        if self.pixels == 0 {
            self.pixels = self.place.line_pixels;
            self.line_at += self.place.line;
            self.lines -= 1;
            if self.lines == 0 {
                self.lines = self.place.image_pixels / self.place.line_pixels;
                self.image_at += self.place.image;
                self.line_at = self.image_at;
            }
            self.at = self.line_at;
        }
        here
    }
}

/// One matrix product.
pub(super) struct Product<'a, T, O: Operand = f32> {
    pub rows: usize,
    pub left: &'a [O],
    /// Operands from one row of the left side to the next.
    pub left_row: usize,
    /// Positions of the left side's terms in a row, in ascending order.
    pub terms: &'a [u32],
    pub weights: &'a Weights<O>,
    /// The panels to compute.
    pub panels: Range<usize>,
    /// Whether to apply a ReLU.
    pub relu: bool,
    /// The result's storage, from position `out_start` of `place` on.
    pub out: &'a mut [T],
    pub out_start: usize,
    /// Positions of the result's rows, from row `first` on; whole vectors are written.
    pub place: Place,
    pub first: usize,
}

/// Rows and vectors of a result that are computed together.
struct Tile<'a, T, O> {
    left: *const O,
    left_row: usize,
    terms: &'a [u32],
    right: *const f32,
    bias: *const f32,
    relu: bool,
    /// Destination of each row of the result.
    out: [*mut T; MOST_ROWS],
}

const MOST_ROWS: usize = 14;

impl<T, O: Operand> Tile<'_, T, O> {
    #[inline(always)]
    fn multiply_add<S: Simd>(&self, s: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        O::multiply_add(s, a, b, c)
    }
}

impl<T: Stored, O: Operand> Kernel for Product<'_, T, O> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (rows, weights, lanes) = (self.rows, self.weights, S::LANES);
        let panels = &weights.panels[self.panels.clone()];
        let (Some(last), Some(reach), 1..) = (panels.last(), self.terms.last(), rows) else {
            return;
        };
        assert!(weights.lanes == lanes && self.terms.len() == weights.terms.len());
        assert!(self.terms.is_sorted());
        assert!(self.left.len() > (rows - 1) * self.left_row + *reach as usize);
        // The panels' columns are counted from the first panel's in the result.
        let column = |panel: &Panel| (panel.first - panels[0].first) * lanes;
        let end = self.place.at(self.first + rows - 1) + column(last) + last.width * lanes;
        assert!(self.place.at(self.first) >= self.out_start);
        assert!(end - self.out_start <= self.out.len());
        for panel in panels {
            let height = S::TILE_ROWS[4 - panel.width];
            let mut i = 0;
            let mut places = self.place.from(self.first);
            while i < rows {
                let count = height.min(rows - i);
                let mut out = [std::ptr::null_mut::<T>(); MOST_ROWS];
                // SAFETY: positions grow with the row, so all rows are before the end of the last one,
                // which was asserted; the left side's length was asserted too; a panel has `width`
                // vectors of operands, 32 bits each, for each term, and the bias has whole vectors for all panels.
                unsafe {
                    for out in out.iter_mut().take(count) {
                        let at = places.step() - self.out_start;
                        *out = self.out.as_mut_ptr().add(at + column(panel));
                    }
                    let at = Tile {
                        left: self.left.as_ptr().add(i * self.left_row),
                        left_row: self.left_row,
                        terms: self.terms,
                        right: weights.values.as_ptr().cast::<f32>().add(panel.start),
                        bias: weights.bias.as_ptr().add(panel.first * lanes),
                        relu: self.relu,
                        out,
                    };
                    sized_tile!(tile::<S>(s, &at), panel.width, count);
                }
                i += count;
            }
        }
    }
}

/// # Safety
/// Readable: `ROWS` rows on the left at every term, `WIDTH` vectors per term on the right, `WIDTH`
/// vectors of the bias. Writable: `WIDTH` vectors at each of the first `ROWS` destinations.
#[expect(
    clippy::needless_range_loop,
    reason = "constant bounds, unrolled over registers"
)]
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const WIDTH: usize>(
    s: S,
    at: &Tile<impl Stored, impl Operand>,
) {
    // SAFETY of all accesses: the caller's promise.
    unsafe {
        let mut sums = [[s.splat(0.0); WIDTH]; ROWS];
        for j in 0..WIDTH {
            let bias = s.load(at.bias.add(j * S::LANES));
            for i in 0..ROWS {
                sums[i][j] = bias;
            }
        }
        let mut right = at.right;
        for &term in at.terms {
            let left = at.left.add(term as usize);
            let mut b = [s.splat(0.0); WIDTH];
            for j in 0..WIDTH {
                b[j] = s.load(right.add(j * S::LANES));
            }
            for i in 0..ROWS {
                let a = s.splat(f32::from_bits((*left.add(i * at.left_row)).bits()));
                for j in 0..WIDTH {
                    sums[i][j] = at.multiply_add(s, a, b[j], sums[i][j]);
                }
            }
            right = right.add(WIDTH * S::LANES);
        }
        for i in 0..ROWS {
            for j in 0..WIDTH {
                let mut sum = sums[i][j];
                if at.relu {
                    // With this order of arguments NaN stays NaN.
                    sum = s.max(s.splat(0.0), sum);
                }
                Stored::store_first(s, at.out[i].add(j * S::LANES), S::LANES, sum);
            }
        }
    }
}
