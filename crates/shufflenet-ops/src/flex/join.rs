//! Where a unit's two sides meet: concatenation and channel shuffle, in one pass over the rows.
//!
//! Each side is the input's channels, passed on, or a branch's last batch norm and ReLU (plus the
//! branch's input, in a residual unit). Equally wide sides meet in registers ([`super::shuffle`]);
//! others, of a split that is no half, are laid side by side in a scratch block first, which stays in
//! the first-level cache, and are dealt out from there. Neither split, nor concatenation, nor shuffle
//! is ever a copy of its own. [`super::separate`] is the way back.

use super::geometry::Geometry;
use super::pointwise::Normed;
use super::pool::Buffer;
use super::rows::{Copy, NormRelu, Rows};
use super::shuffle::{Shuffle, Source};
use crate::team;

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

impl<'a> Side<'a> {
    pub fn channels(&self) -> usize {
        match self {
            Self::Passed { channels, .. } => *channels,
            Self::Transformed { last, .. } => last.norm.columns(),
        }
    }

    /// The side's rows from `first` on.
    fn source(&self, first: usize) -> Source<'a> {
        match *self {
            Self::Passed { x, .. } => Source::plain(x.behind(first)),
            Self::Transformed { last, residual } => Source {
                x: last.rows().behind(first),
                norm: Some([&last.norm.scale, &last.norm.shift]),
                residual: residual.map(|x| x.behind(first)),
            },
        }
    }
}

/// Rows of a scratch block.
const BLOCK: usize = 32;

/// The unit's output: rows of the two sides' channels together, shuffled.
pub(crate) fn forward(at: Geometry, sides: &[Side; 2]) -> Buffer {
    let [half, other] = [0, 1].map(|i| sides[i].channels());
    let columns = half + other;
    let part = at.part * at.pixels_out();
    let mut out = Buffer::any(at.images * at.pixels_out() * columns);
    team::map(out.chunks_mut(part * columns), |number, out| {
        let first = number * part;
        if half == other {
            at.isa.run(Shuffle {
                rows: out.len() / columns,
                half,
                sides: [0, 1].map(|i| sides[i].source(first)),
                out,
            });
        } else {
            shuffle_unequal(at, sides, columns, first, out);
        }
    });
    out
}

/// Rows from `first` on of sides that are not equally wide.
fn shuffle_unequal(at: Geometry, sides: &[Side; 2], columns: usize, first: usize, out: &mut [f32]) {
    let mut scratch = Buffer::any(BLOCK * columns);
    let half = columns / 2;
    for (i, out) in out.chunks_mut(BLOCK * columns).enumerate() {
        let rows = out.len() / columns;
        let mut column = 0;
        for side in sides {
            let to = &mut scratch[column..];
            write(
                at,
                side.source(first + i * BLOCK),
                [rows, side.channels()],
                to,
                columns,
            );
            column += side.channels();
        }
        let halves = [&scratch[..], &scratch[half..]];
        let halves = halves.map(|data| Rows::new(data, columns));
        at.isa.run(Shuffle {
            rows,
            half,
            sides: halves.map(Source::plain),
            out,
        });
    }
}

/// Writes rows of one side.
fn write(
    at: Geometry,
    side: Source,
    [rows, columns]: [usize; 2],
    out: &mut [f32],
    out_stride: usize,
) {
    match side.norm {
        None => at.isa.run(Copy {
            rows,
            columns,
            x: side.x,
            out,
            out_stride,
        }),
        Some([scale, shift]) => at.isa.run(NormRelu {
            rows,
            columns,
            y: side.x,
            scale,
            shift,
            residual: side.residual,
            out,
            out_stride,
        }),
    }
}
