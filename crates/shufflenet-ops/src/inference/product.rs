//! The matrix product of inference: 1x1 convolutions, the stem's 3x3 ones, the classifier.
//!
//! ```text
//! out[i][j] = activation(bias[j] + sum over k of left[i * left_row + terms[k]] * weight[k][j])
//! ```
//!
//! The terms of a sum lie wherever `terms` says: in the columns that a unit reads, or in the nine
//! places of a window. Weights are packed by panels of a few vectors, so that a panel is read from
//! end to end.

use std::ops::Range;

use super::pass::cut;
use super::weights::Folded;
use crate::flex::matmul::{panel, sized_tile};
use crate::flex::pool::Buffer;
use crate::flex::simd::{Isa, Kernel, Simd};
use crate::flex::weights;
use crate::team;

/// Packed weights with the places of the terms that they meet.
pub(super) struct Weights {
    /// Where the left side's terms lie, from the start of its row.
    pub terms: Vec<u32>,
    panels: Vec<Panel>,
    values: Buffer,
    bias: Buffer,
    outputs: usize,
    lanes: usize,
}

/// Some columns of the result, whole vectors.
struct Panel {
    /// Number of its first vector.
    first: usize,
    /// Its vectors.
    width: usize,
    /// Where its values start; `width` vectors a term.
    start: usize,
}

impl Weights {
    /// Packs `layer`, whose input `k` lies at `places[k]`. Sums run in the order of the places.
    pub fn new(isa: Isa, layer: &Folded, places: &[usize]) -> Self {
        let (inputs, outputs, lanes) = (layer.inputs(), layer.outputs(), isa.lanes());
        assert_eq!(places.len(), inputs, "a place for each input");
        let mut order: Vec<usize> = (0..inputs).collect();
        order.sort_by_key(|&k| places[k]);
        let vectors = outputs.div_ceil(lanes);
        let mut values = Buffer::zeros(inputs * vectors * lanes);
        let mut panels = Vec::new();
        let (mut first, mut start) = (0, 0);
        while first < vectors {
            let width = panel(isa.tile_rows(), vectors - first);
            let columns = first * lanes..((first + width) * lanes).min(outputs);
            let rows = values[start..].chunks_exact_mut(width * lanes);
            for (row, &k) in rows.zip(&order) {
                for (value, j) in row.iter_mut().zip(columns.clone()) {
                    *value = layer.weight[j * inputs + k];
                }
            }
            panels.push(Panel {
                first,
                width,
                start,
            });
            first += width;
            start += inputs * width * lanes;
        }
        Self {
            terms: order.iter().map(|&k| places[k] as u32).collect(),
            panels,
            values,
            bias: weights::padded(isa, &layer.bias, outputs),
            outputs,
            lanes,
        }
    }

    /// Columns of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the result with what makes the last vector whole.
    pub fn padded(&self) -> usize {
        self.bias.len()
    }

    /// All panels.
    pub fn all(&self) -> Range<usize> {
        0..self.panels.len()
    }

    /// Runs `work` on all panels, shared out to so many threads, each with its columns of `out`: rows of
    /// [`Self::padded`] values, more than one only where there is a single share.
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

/// Where the rows of a result lie: one behind the other, or as pixels of maps with a border.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Where pixel 0 is.
    pub origin: usize,
    /// Pixels of an image, and of one of its lines.
    pub image_pixels: usize,
    pub line_pixels: usize,
    /// Values from image to image, line to line, pixel to pixel.
    pub image: usize,
    pub line: usize,
    pub pixel: usize,
}

impl Place {
    /// Rows of `stride` values, written from column `column` on.
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

    /// Where pixel `i` starts.
    #[inline(always)]
    pub fn at(&self, i: usize) -> usize {
        let (image, i) = (i / self.image_pixels, i % self.image_pixels);
        let (line, column) = (i / self.line_pixels, i % self.line_pixels);
        self.origin + image * self.image + line * self.line + column * self.pixel
    }
}

/// One product.
pub(super) struct Product<'a> {
    pub rows: usize,
    pub left: &'a [f32],
    /// Values from one row of the left side to the next.
    pub left_row: usize,
    /// Where its terms lie, in ascending order.
    pub terms: &'a [u32],
    pub weights: &'a Weights,
    /// The panels to compute.
    pub panels: Range<usize>,
    /// Whether what is negative becomes zero.
    pub relu: bool,
    /// The result's storage, from value `out_start` of its place on.
    pub out: &'a mut [f32],
    pub out_start: usize,
    /// Where the result's rows lie, the first being row `first`; whole vectors are written.
    pub place: Place,
    pub first: usize,
}

/// Rows and vectors of a result that are computed together.
struct Tile<'a> {
    left: *const f32,
    left_row: usize,
    terms: &'a [u32],
    right: *const f32,
    bias: *const f32,
    relu: bool,
    /// Where each row of the result goes.
    out: [*mut f32; MOST_ROWS],
}

const MOST_ROWS: usize = 14;

impl Kernel for Product<'_> {
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
            while i < rows {
                let count = height.min(rows - i);
                let mut out = [std::ptr::null_mut(); MOST_ROWS];
                // SAFETY: rows grow with their number, so all lie before the last one's end, which
                // was asserted; the left side's reach was, too; a panel holds `width` vectors for
                // each term, and the bias whole vectors for all panels.
                unsafe {
                    for (r, out) in out.iter_mut().enumerate().take(count) {
                        let at = self.place.at(self.first + i + r) - self.out_start;
                        *out = self.out.as_mut_ptr().add(at + column(panel));
                    }
                    let at = Tile {
                        left: self.left.as_ptr().add(i * self.left_row),
                        left_row: self.left_row,
                        terms: self.terms,
                        right: weights.values.as_ptr().add(panel.start),
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
/// Readable: `ROWS` rows on the left at every term, `WIDTH` vectors a term on the right, `WIDTH` of
/// the bias. Writable: `WIDTH` vectors at each of the first `ROWS` places.
#[expect(
    clippy::needless_range_loop,
    reason = "constant bounds, unrolled over registers"
)]
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const WIDTH: usize>(s: S, at: &Tile) {
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
                let a = s.splat(*left.add(i * at.left_row));
                for j in 0..WIDTH {
                    sums[i][j] = s.mul_add(a, b[j], sums[i][j]);
                }
            }
            right = right.add(WIDTH * S::LANES);
        }
        for i in 0..ROWS {
            for j in 0..WIDTH {
                let mut sum = sums[i][j];
                if at.relu {
                    // In this order a NaN stays one.
                    sum = s.max(s.splat(0.0), sum);
                }
                s.store(at.out[i].add(j * S::LANES), sum);
            }
        }
    }
}
