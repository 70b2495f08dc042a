//! The backward of [`crate::training::join`]: concatenation and shuffle of a unit's two sides.
//!
//! One pass over the rows gives each side its channels of the output's gradient. A side that was passed on gets
//! them unchanged. A branch gets them through its last ReLU, with the two sums over the batch that the batch norm
//! before that ReLU needs.

use crate::kernels::rows::{Copy, ReluGradient, Rows};
use crate::kernels::shuffle::{BranchSink, Sink, Unshuffle};
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::stored::Stored;
use crate::training::geometry::Geometry;
use crate::training::join::{BLOCK, Side};
use crate::training::moments::{GradientMoments, SUMMED};
use crate::training::norm::Norm;

/// Gradient of a batch norm's output, with the two sums that the norm's backward needs.
pub type BranchGradient<T> = (Buffer<T>, [Vec<f64>; 2]);

/// Computes the sides' gradients from the output's gradient, `dout`. The gradients of a passed side and of a
/// residual are written to the rows of `dx` from the given column on. The gradient of a branch is returned.
///
/// `dx` has `dx_stride` values per row. If it is empty, no side may be passed on.
pub fn backward<T: Stored>(
    at: Geometry,
    sides: [(&Side<T>, usize); 2],
    dout: &[T],
    dx: &mut [T],
    dx_stride: usize,
) -> [Option<BranchGradient<T>>; 2] {
    let widths = sides.map(|(side, _)| side.channels());
    let columns = widths[0] + widths[1];
    assert!(columns.is_multiple_of(2), "a shuffle of {columns} channels");
    let dout = Rows::new(dout, columns);
    let pixels = at.images * at.pixels_out();
    let part = at.part * at.pixels_out();
    let parts = pixels.div_ceil(part);
    let mut g = sides.map(|(side, _)| match side {
        Side::Passed { .. } => Buffer::any(0),
        Side::Transformed { .. } => Buffer::any(pixels * side.channels()),
    });
    let [first, second] = &mut g;
    let first = in_parts(first, part * widths[0], parts);
    let second = in_parts(second, part * widths[1], parts);
    let moments: Vec<[Option<GradientMoments>; 2]> = {
        let parts = in_parts(dx, part * dx_stride, parts).into_iter();
        team::map(
            parts.zip(first.into_iter().zip(second)),
            |number, (dx, (first, second))| {
                let from = number * part;
                let part = Part {
                    at,
                    rows: part.min(pixels - from),
                    dout: dout.behind(from),
                    sides: [
                        Share::new(at, sides[0], first, from),
                        Share::new(at, sides[1], second, from),
                    ],
                    dx,
                    dx_stride,
                };
                part.separate(widths)
            },
        )
    };
    let [mut first, mut second] = [Vec::new(), Vec::new()];
    for [a, b] in moments {
        first.extend(a);
        second.extend(b);
    }
    let [g_first, g_second] = g;
    [(g_first, first), (g_second, second)]
        .map(|(g, moments)| (!moments.is_empty()).then(|| (g, GradientMoments::merge(&moments))))
}

/// Cuts `values` into `parts` pieces of `part` values; pieces after the end are empty.
fn in_parts<T: Stored>(values: &mut [T], part: usize, parts: usize) -> Vec<&mut [T]> {
    let mut pieces: Vec<&mut [T]> = values.chunks_mut(part).collect();
    pieces.resize_with(parts, Default::default);
    pieces
}

/// One part of the batch.
struct Part<'a, T: Stored> {
    at: Geometry,
    rows: usize,
    dout: Rows<'a, T>,
    sides: [Share<'a, T>; 2],
    dx: &'a mut [T],
    dx_stride: usize,
}

/// One side's share of a part.
struct Share<'a, T: Stored> {
    /// The column of `dx` from which on the gradient is copied unchanged.
    passed: Option<usize>,
    branch: Option<BranchShare<'a, T>>,
}

struct BranchShare<'a, T: Stored> {
    y: Rows<'a, T>,
    norm: &'a Norm,
    g: &'a mut [T],
    moments: GradientMoments,
}

impl<'a, T: Stored> Share<'a, T> {
    /// The share of the rows from `first` on; `g` starts at row `first`.
    fn new(
        at: Geometry,
        (side, dx_column): (&Side<'a, T>, usize),
        g: &'a mut [T],
        first: usize,
    ) -> Self {
        match *side {
            Side::Passed { .. } => Self {
                passed: Some(dx_column),
                branch: None,
            },
            Side::Transformed { last, residual } => Self {
                passed: residual.map(|_| dx_column),
                branch: Some(BranchShare {
                    y: last.rows().behind(first),
                    norm: &last.norm,
                    g,
                    moments: GradientMoments::new(at.isa, side.channels()),
                }),
            },
        }
    }

    /// The rows from `start` on, for the kernel.
    fn sink(&mut self, start: usize) -> Sink<'_, T> {
        let branch = self.branch.as_mut().map(|branch| BranchSink {
            y: branch.y.behind(start),
            scale: &branch.norm.scale,
            shift: &branch.norm.shift,
            mean: &branch.norm.mean,
            g: &mut branch.g[start * branch.norm.columns()..],
            sums: branch.moments.block(),
        });
        Sink {
            passed: self.passed,
            branch,
        }
    }
}

impl<T: Stored> Part<'_, T> {
    fn separate(mut self, [half, other]: [usize; 2]) -> [Option<GradientMoments>; 2] {
        if half == other {
            self.equal(half);
        } else {
            self.unequal([half, other]);
        }
        self.sides
            .map(|side| side.branch.map(|branch| branch.moments))
    }

    fn equal(&mut self, half: usize) {
        for start in (0..self.rows).step_by(SUMMED) {
            self.at.isa.run(Unshuffle {
                rows: SUMMED.min(self.rows - start),
                half,
                dout: self.dout.behind(start),
                sides: self.sides.each_mut().map(|side| side.sink(start)),
                dx: from(self.dx, start * self.dx_stride),
                dx_stride: self.dx_stride,
            });
            let branches = self.sides.iter_mut().flat_map(|side| &mut side.branch);
            branches.for_each(|branch| branch.moments.take_block());
        }
    }

    /// Separates sides of different widths, through a scratch block.
    fn unequal(&mut self, widths: [usize; 2]) {
        let (isa, columns) = (self.at.isa, widths[0] + widths[1]);
        let half = columns / 2;
        let mut scratch = Buffer::<T>::any(BLOCK * columns);
        for start in (0..self.rows).step_by(BLOCK) {
            let rows = BLOCK.min(self.rows - start);
            let to = |column| Sink {
                passed: Some(column),
                branch: None,
            };
            isa.run(Unshuffle {
                rows,
                half,
                dout: self.dout.behind(start),
                sides: [to(0), to(half)],
                dx: &mut scratch,
                dx_stride: columns,
            });
            let mut column = 0;
            for (side, width) in self.sides.iter_mut().zip(widths) {
                let x = Rows::new(&scratch[column..], columns);
                if let Some(column) = side.passed {
                    isa.run(Copy {
                        rows,
                        columns: width,
                        x,
                        out: from(self.dx, start * self.dx_stride + column),
                        out_stride: self.dx_stride,
                    });
                }
                if let Some(branch) = &mut side.branch {
                    branch.take(self.at, [start, rows], x);
                }
                column += width;
            }
        }
    }
}

impl<T: Stored> BranchShare<'_, T> {
    /// Applies the ReLU's gradient to `x`, the gradients of `rows` rows from `start` on, and adds to the sums.
    fn take(&mut self, at: Geometry, [start, rows]: [usize; 2], x: Rows<T>) {
        let columns = self.norm.columns();
        let (y, out) = (self.y.behind(start), &mut self.g[start * columns..]);
        at.isa.run(ReluGradient {
            rows,
            columns,
            g: x,
            y,
            scale: &self.norm.scale,
            shift: &self.norm.shift,
            out,
            out_stride: columns,
        });
        let g = Rows::new(out, columns);
        self.moments.add(at.isa, rows, g, y, self.norm);
    }
}

/// The values from `start` on; an empty slice if `start` is past the end.
fn from<T>(values: &mut [T], start: usize) -> &mut [T] {
    values.get_mut(start..).unwrap_or_default()
}
