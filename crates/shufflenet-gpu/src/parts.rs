//! The parts of a batch, and their partial sums.
//!
//! A kernel that sums over the batch is launched as some rows of workgroups. A row takes its share of the tiles in
//! order and writes one row of partial sums; a later kernel adds the rows in order. The number of rows follows from the
//! shapes alone, so the sums' bits do not depend on how many workgroups the device runs at once.

/// Most rows of workgroups in a launch: enough for the largest devices, and few enough to add up quickly.
const MOST_ROWS: usize = 512;

/// How the tiles of a launch are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Rows of workgroups, and of partial sums.
    pub rows: usize,
    /// Tiles of a row; the last row may have fewer.
    pub tiles: usize,
}

impl Parts {
    pub fn of(tiles: usize) -> Self {
        Self::at_most(MOST_ROWS, tiles)
    }

    /// At most `rows` rows.
    pub fn at_most(rows: usize, tiles: usize) -> Self {
        let each = tiles.div_ceil(rows).max(1);
        Self {
            rows: tiles.div_ceil(each).max(1),
            tiles: each,
        }
    }
}
