//! Runs of neighbouring columns, which a stride-2 unit's left branch copies from rows into maps.

use super::place::Place;
use super::site::Band;
use crate::simd::stored::Stored;
use crate::simd::{Kernel, Simd};

/// Runs of neighbouring columns. Each is its start in the list, its start in the rows, and its length.
pub(super) fn runs(columns: &[usize]) -> Vec<[usize; 3]> {
    let mut runs: Vec<[usize; 3]> = Vec::new();
    for (i, &column) in columns.iter().enumerate() {
        match runs.last_mut() {
            Some([_, start, len]) if *start + *len == column => *len += 1,
            _ => runs.push([i, column, 1]),
        }
    }
    runs
}

/// Copies runs of columns of a band's rows into maps, with zeros in the padded channels.
pub(super) struct CopyRuns<'a, T> {
    /// Ascending, without a gap in the maps.
    pub runs: &'a [[usize; 3]],
    /// Channels of the maps.
    pub channels: usize,
    pub band: &'a Band<'a, T>,
    /// Positions of the pixels; `map` starts at the maps' value `start`.
    pub place: Place,
    pub start: usize,
    pub map: &'a mut [T],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_put_together_are_the_columns() {
        let columns = [4, 5, 6, 9, 10, 2];
        let runs = runs(&columns);
        assert_eq!(runs, [[0, 4, 3], [3, 9, 2], [5, 2, 1]]);
    }
}
