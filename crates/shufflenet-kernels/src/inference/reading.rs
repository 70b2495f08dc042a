//! The columns of a stage's rows that a product reads, in float32 or in pairs of bfloat16.
//!
//! Rows in float32 are read where they are, and so are rows in bfloat16 where products are in pairs. Otherwise, of rows in
//! bfloat16, the vectors that have any of the columns are widened once for each block of rows, into scratch in the cache. A
//! stage's row is up to ten times as wide as what one unit reads of it, and most of a unit's columns are neighbours.

use half::bf16;

use crate::kernels::rows::Rows;
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Simd};

/// Some columns of rows, and where they are when they have been widened.
pub(super) struct Reading {
    /// The columns, ascending.
    columns: Vec<u32>,
    /// First columns of the vectors that have any of the columns.
    vectors: Vec<u32>,
    /// Position of each column in these vectors, one after the other.
    places: Vec<u32>,
    /// Whether rows in bfloat16 are read in pairs.
    pairs: bool,
}

/// The rows that a product reads.
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// Float32, and the positions of the terms in each row.
    Float32(Rows<'a>, &'a [u32]),
    /// bfloat16. The weights have the positions of the pairs.
    Bf16(Rows<'a, bf16>),
}

impl Left<'_> {
    /// The rows from `first` on.
    pub fn behind(self, first: usize) -> Self {
        match self {
            Self::Float32(rows, terms) => Self::Float32(rows.behind(first), terms),
            Self::Bf16(rows) => Self::Bf16(rows.behind(first)),
        }
    }
}

/// Rows as they are stored, or widened.
pub(super) enum Read<'a> {
    Stored(Left<'a>),
    Widened {
        values: Buffer,
        row: usize,
        terms: &'a [u32],
    },
}

impl Read<'_> {
    pub fn left(&self) -> Left<'_> {
        match self {
            Self::Stored(left) => *left,
            Self::Widened { values, row, terms } => Left::Float32(Rows::new(values, *row), terms),
        }
    }
}

impl Reading {
    /// Reads `columns`, which ascend, in pairs if rows in bfloat16 are to be read so.
    pub fn new(isa: Isa, columns: &[u32], pairs: bool) -> Self {
        let lanes = isa.lanes() as u32;
        let mut vectors: Vec<u32> = columns.iter().map(|c| c / lanes * lanes).collect();
        vectors.dedup();
        let place = |column: &u32| {
            let before = vectors.partition_point(|first| first <= column) - 1;
            before as u32 * lanes + column % lanes
        };
        Self {
            places: columns.iter().map(place).collect(),
            columns: columns.to_vec(),
            vectors,
            pairs,
        }
    }

    /// Position of each column in widened rows.
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// Values of a widened row.
    pub fn width(&self, isa: Isa) -> usize {
        self.vectors.len() * isa.lanes()
    }

    /// The first `rows` rows of `x`, which are whole vectors.
    pub fn read<'a, T: Stored>(&'a self, isa: Isa, x: Rows<'a, T>, rows: usize) -> Read<'a> {
        if let Some(values) = T::as_float32(x.data) {
            let x = Rows::new(values, x.stride);
            return Read::Stored(Left::Float32(x, &self.columns));
        }
        if let (true, Some(values)) = (self.pairs, T::as_bf16(x.data)) {
            return Read::Stored(Left::Bf16(Rows::new(values, x.stride)));
        }
        let row = self.width(isa);
        let mut values = Buffer::any(rows * row);
        isa.run(Widen {
            rows,
            x,
            vectors: &self.vectors,
            out: &mut values,
        });
        let terms = &self.places;
        Read::Widened { values, row, terms }
    }
}

/// Copies some vectors of each row, widened, one after the other.
struct Widen<'a, T> {
    rows: usize,
    x: Rows<'a, T>,
    vectors: &'a [u32],
    out: &'a mut [f32],
}

impl<T: Stored> Kernel for Widen<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (rows, vectors, stride) = (self.rows, self.vectors, self.x.stride);
        let width = vectors.len() * S::LANES;
        let reach = vectors.iter().max().map_or(0, |v| *v as usize + S::LANES);
        self.x.check(rows, reach);
        assert!(self.out.len() >= rows * width);
        for row in 0..rows {
            // SAFETY: every vector ends before `reach` in its row, and `out` has room for all, as asserted.
            unsafe {
                let from = self.x.data.as_ptr().add(row * stride);
                let to = self.out.as_mut_ptr().add(row * width);
                for (i, &vector) in vectors.iter().enumerate() {
                    let v = T::load_first(s, from.add(vector as usize), S::LANES);
                    s.store(to.add(i * S::LANES), v);
                }
            }
        }
    }
}
