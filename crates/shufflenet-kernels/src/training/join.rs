//! Concatenation and channel shuffle of a unit's two sides, in one pass over the rows.
//!
//! A side is either channels of the input, passed on, or a branch's last batch norm and ReLU (plus the
//! branch's input, in a residual unit). Sides of equal width are shuffled in registers
//! ([`crate::kernels::shuffle`]). Sides of different widths, from a split that is not in half, are first
//! written side by side to a scratch block, which stays in the first-level cache, and shuffled from there. Split,
//! concatenation and shuffle never take a separate copy. The backward is [`crate::training::join_backward`].

use crate::kernels::rows::{Copy, NormRelu, Rows};
use crate::kernels::shuffle::{Shuffle, Source};
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::stored::Stored;
use crate::training::geometry::Geometry;
use crate::training::pointwise::Normed;

/// One side of the concatenation.
pub enum Side<'a, T: Stored> {
    /// The first `channels` of `x`.
    Passed { x: Rows<'a, T>, channels: usize },
    /// The last batch norm and ReLU of a branch.
    Transformed {
        last: &'a Normed<T>,
        residual: Option<Rows<'a, T>>,
    },
}

impl<'a, T: Stored> Side<'a, T> {
    pub fn channels(&self) -> usize {
        match self {
            Self::Passed { channels, .. } => *channels,
            Self::Transformed { last, .. } => last.norm.columns(),
        }
    }

    /// The side's rows from `first` on, for the kernel.
    fn source(&self, first: usize) -> Source<'a, T> {
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
pub(super) const BLOCK: usize = 32;

/// Computes the unit's output: rows of both sides' channels, shuffled.
///
/// # Panics
/// If the sides together have an odd number of channels.
pub fn forward<T: Stored>(at: Geometry, sides: &[Side<T>; 2]) -> Buffer<T> {
    let [half, other] = [0, 1].map(|i| sides[i].channels());
    let columns = half + other;
    assert!(columns.is_multiple_of(2), "a shuffle of {columns} channels");
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

/// Computes the output's rows from `first` on for sides of different widths.
fn shuffle_unequal<T: Stored>(
    at: Geometry,
    sides: &[Side<T>; 2],
    columns: usize,
    first: usize,
    out: &mut [T],
) {
    let mut scratch = Buffer::<T>::any(BLOCK * columns);
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
fn write<T: Stored>(
    at: Geometry,
    side: Source<T>,
    [rows, columns]: [usize; 2],
    out: &mut [T],
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
