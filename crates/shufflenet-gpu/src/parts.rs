//! The parts of a batch, and their partial sums.
//!
//! A kernel that sums over the batch is launched as some rows of workgroups. A row takes its share of the tiles in
//! order and writes one row of partial sums; a later kernel adds the rows in order. The number of rows follows from the
//! shapes alone, so the sums' bits do not depend on how many workgroups the device runs at once.

use cubecl::prelude::*;

use crate::vector::{V4, store};

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

/// Sums that [`write_sums`] has in shared memory at a time.
const AT_ONCE: usize = 4;

/// Vectors of shared memory that [`write_sums`] takes for `units` units: at most 16 KiB.
pub(crate) const fn shared_for_sums(units: usize) -> usize {
    AT_ONCE * units
}

/// Adds up what the units of a workgroup have summed, and writes the workgroup's row of `parts`: `count` rows of `columns`
/// values.
///
/// Unit `(x, y)` of `(units_x, units_y)` has summed the channels from `column` on, which depend on `x` alone. All units
/// call this together, and `shared` may be in use until then.
#[cube]
pub(crate) fn write_sums<N: Size>(
    sums: &Array<V4>,
    shared: &mut Shared<[V4]>,
    parts: &mut [Vector<f32, N>],
    row: usize,
    column: usize,
    valid: usize,
    #[comptime] count: usize,
    #[comptime] columns: usize,
    #[comptime] units_x: usize,
    #[comptime] units_y: usize,
) {
    let units = comptime!(units_x * units_y);
    let unit = UNIT_POS as usize;
    let x = unit % units_x;
    let y = unit / units_x;
    #[unroll]
    for step in 0..comptime!(count.div_ceil(AT_ONCE)) {
        let first = comptime!(step * AT_ONCE);
        let here = comptime!(AT_ONCE.min(count - first));
        sync_cube();
        if y < units_y {
            #[unroll]
            for i in 0..here {
                shared[comptime!(i * units) + unit] = sums[comptime!(first + i)];
            }
        }
        sync_cube();
        // Each row of units adds up one of the sums, in the order of the units.
        let mut i = y;
        while i < here {
            let mut sum = V4::new(0.0);
            for other in 0..units_y {
                sum += shared[i * units + other * units_x + x];
            }
            store::<N>(
                parts,
                (row * count + first + i) * columns + column,
                valid,
                sum,
            );
            i += units_y;
        }
    }
}
