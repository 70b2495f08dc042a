//! Where a unit's two sides meet: concatenation and channel shuffle, in one pass over the rows.
//!
//! Each side is the input's channels, passed on, or a branch's last batch norm and ReLU (plus the
//! branch's input, in a residual unit). A block of rows is concatenated in a scratch block that
//! stays in the first-level cache, and dealt out from there: neither split, nor concatenation, nor
//! shuffle is ever a copy of its own. Backward is the same, the other way round.

use rayon::prelude::*;

use super::geometry::Geometry;
use super::norm::GradientMoments;
use super::pointwise::Normed;
use super::pool::Buffer;
use super::rows::{Copy, NormRelu, ReluGradient, Rows};
use super::shuffle::{Deinterleave, Interleave};

/// One side of the concatenation.
pub(crate) enum Side<'a> {
    /// The first `channels` of `x`.
    Passed { x: Rows<'a>, channels: usize },
    /// What a branch ends on.
    Transformed {
        last: &'a Normed,
        residual: Option<Rows<'a>>,
    },
}

impl Side<'_> {
    pub fn channels(&self) -> usize {
        match self {
            Self::Passed { channels, .. } => *channels,
            Self::Transformed { last, .. } => last.norm.columns(),
        }
    }
}

/// Rows of a scratch block.
const BLOCK: usize = 32;

/// The unit's output: rows of the two sides' channels together, shuffled.
pub(crate) fn forward(at: Geometry, sides: &[Side; 2]) -> Buffer {
    let isa = at.isa;
    let columns: usize = sides.iter().map(Side::channels).sum();
    let mut out = Buffer::any(at.images * at.pixels_out() * columns);
    let part = at.part * at.pixels_out();
    out.par_chunks_mut(part * columns)
        .enumerate()
        .with_max_len(1)
        .for_each(|(number, out)| {
            let mut scratch = Buffer::any(BLOCK * columns);
            for (i, out) in out.chunks_mut(BLOCK * columns).enumerate() {
                let first = number * part + i * BLOCK;
                let rows = out.len() / columns;
                let mut column = 0;
                for side in sides {
                    side.write(at, first, rows, &mut scratch[column..], columns);
                    column += side.channels();
                }
                let x = Rows {
                    data: &scratch,
                    stride: columns,
                };
                isa.run(Interleave {
                    rows,
                    half: columns / 2,
                    x,
                    out,
                    out_stride: columns,
                });
            }
        });
    out
}

impl Side<'_> {
    /// Writes rows `first..first + rows` of this side.
    fn write(&self, at: Geometry, first: usize, rows: usize, out: &mut [f32], stride: usize) {
        match *self {
            Self::Passed {
                x,
                channels: columns,
            } => {
                let x = Rows {
                    data: &x.data[first * x.stride..],
                    ..x
                };
                at.isa.run(Copy {
                    rows,
                    columns,
                    x,
                    out,
                    out_stride: stride,
                });
            }
            Self::Transformed { last, residual } => {
                let columns = last.norm.columns();
                let from = |x: Rows<'_>| first * x.stride;
                at.isa.run(NormRelu {
                    rows,
                    columns,
                    y: Rows {
                        data: &last.y[first * columns..],
                        stride: columns,
                    },
                    scale: &last.norm.scale,
                    shift: &last.norm.shift,
                    residual: residual.map(|x| Rows {
                        data: &x.data[from(x)..],
                        ..x
                    }),
                    out,
                    out_stride: stride,
                });
            }
        }
    }
}

/// A gradient behind a batch norm, with the two sums that the norm's backward starts from.
pub(crate) type BranchGradient = (Buffer, [Vec<f64>; 2]);

/// The sides' gradients from the output's, `dout`. A passed side's, and a residual's, go into the
/// rows of `dx` from the given column on; a branch's comes back.
///
/// `dx` has `dx_stride` values a row; where it has none, no side may be passed on.
pub(crate) fn backward(
    at: Geometry,
    sides: [(&Side, usize); 2],
    dout: &[f32],
    dx: &mut [f32],
    dx_stride: usize,
) -> [Option<BranchGradient>; 2] {
    let isa = at.isa;
    let columns: usize = sides.iter().map(|(side, _)| side.channels()).sum();
    let pixels = at.images * at.pixels_out();
    let part = at.part * at.pixels_out();
    let buffer = |(side, _): (&Side, usize)| match side {
        Side::Passed { .. } => Buffer::any(0),
        Side::Transformed { .. } => Buffer::any(pixels * side.channels()),
    };
    let mut g = sides.map(buffer);
    let parts = pixels.div_ceil(part);
    let mut passed: Vec<&mut [f32]> = dx.chunks_mut(part * dx_stride).collect();
    passed.resize_with(parts, Default::default);
    let [first_side, second_side] = &mut g;
    let mut chunks = [first_side, second_side].map(|g| {
        let columns = g.len() / pixels;
        let mut chunks: Vec<&mut [f32]> = g.chunks_mut((part * columns).max(1)).collect();
        chunks.resize_with(parts, Default::default);
        chunks.into_iter()
    });
    let work: Vec<_> = passed
        .into_iter()
        .map(|dx| {
            (
                dx,
                [0, 1].map(|side| chunks[side].next().unwrap_or_default()),
            )
        })
        .collect();
    let moments: Vec<[Option<GradientMoments>; 2]> = work
        .into_par_iter()
        .enumerate()
        .with_max_len(1)
        .map(|(number, (dx, g))| {
            let mut moments = sides.map(|(side, _)| match side {
                Side::Passed { .. } => None,
                Side::Transformed { last, .. } => {
                    Some(GradientMoments::new(isa, last.norm.columns()))
                }
            });
            let mut scratch = Buffer::any(BLOCK * columns);
            let rows_here = part.min(pixels - number * part);
            for start in (0..rows_here).step_by(BLOCK) {
                let rows = BLOCK.min(rows_here - start);
                let first = number * part + start;
                let x = Rows {
                    data: &dout[first * columns..],
                    stride: columns,
                };
                isa.run(Deinterleave {
                    rows,
                    half: columns / 2,
                    x,
                    out: &mut scratch,
                    out_stride: columns,
                });
                let mut column = 0;
                for (i, (side, dx_column)) in sides.into_iter().enumerate() {
                    let from = Rows {
                        data: &scratch[column..],
                        stride: columns,
                    };
                    let to = dx
                        .get_mut(start * dx_stride + dx_column..)
                        .unwrap_or_default();
                    match side {
                        Side::Passed { channels, .. } => isa.run(Copy {
                            rows,
                            columns: *channels,
                            x: from,
                            out: to,
                            out_stride: dx_stride,
                        }),
                        Side::Transformed { last, residual } => {
                            let n = last.norm.columns();
                            let y = Rows {
                                data: &last.y[first * n..],
                                stride: n,
                            };
                            let out = &mut g[i][start * n..];
                            let (scale, shift) = (&last.norm.scale, &last.norm.shift);
                            isa.run(ReluGradient {
                                rows,
                                columns: n,
                                g: from,
                                y,
                                scale,
                                shift,
                                out,
                                out_stride: n,
                            });
                            if let Some(moments) = &mut moments[i] {
                                moments.add(
                                    isa,
                                    rows,
                                    Rows {
                                        data: out,
                                        stride: n,
                                    },
                                    y,
                                    &last.norm,
                                );
                            }
                            if residual.is_some() {
                                isa.run(Copy {
                                    rows,
                                    columns: n,
                                    x: from,
                                    out: to,
                                    out_stride: dx_stride,
                                });
                            }
                        }
                    }
                    column += side.channels();
                }
            }
            moments
        })
        .collect();
    let [mut first, mut second] = [Vec::new(), Vec::new()];
    for [a, b] in moments {
        first.extend(a);
        second.extend(b);
    }
    let [g_first, g_second] = g;
    [(g_first, first), (g_second, second)]
        .map(|(g, moments)| (!moments.is_empty()).then(|| (g, GradientMoments::merge(&moments))))
}
