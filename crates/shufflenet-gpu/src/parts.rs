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
const AT_ONCE: usize = 3;

/// Vectors of shared memory that [`write_sums`] takes for `threads` threads: at most 12 KiB.
pub(crate) const fn shared_for_sums(threads: usize) -> usize {
    AT_ONCE * threads
}

/// Adds up what the threads of a workgroup have summed, and writes the workgroup's row of `parts`: `count` rows of
/// `columns` values.
///
/// Thread `(x, y)` of `(threads_x, threads_y)` has summed the channels from `column` on, which depend on `x` alone.
/// `threads_y` is more than `AT_ONCE`, and the workgroup has `threads` threads or more. All threads call this together,
/// and `shared` is not in use then.
#[cube]
pub(crate) fn write_sums<N: Size>(
    sums: &Array<V4>,
    shared: &mut Shared<[V4]>,
    parts: &mut [Vector<f32, N>],
    row: usize,
    column: usize,
    valid: usize,
    columns: usize,
    threads_x: usize,
    threads_y: usize,
    #[comptime] count: usize,
    #[comptime] threads: usize,
) {
    // An index that is known at run time only moves an array out of the registers. The copy is there for its sake.
    let mut copy = Array::<V4>::new(count);
    #[unroll]
    for i in 0..count {
        copy[i] = sums[i];
    }
    if comptime!(count <= AT_ONCE) {
        let first = 0usize.runtime();
        copy_sums(&copy, shared, first, threads_x, threads_y, count, threads);
        sync_cube();
        add_sums::<N>(
            &*shared, parts, row, first, column, valid, columns, threads_x, threads_y, count,
            threads,
        );
    } else {
        for step in 0..comptime!(count.div_ceil(AT_ONCE)) {
            let first = step * AT_ONCE;
            copy_sums(&copy, shared, first, threads_x, threads_y, count, threads);
            sync_cube();
            add_sums::<N>(
                &*shared, parts, row, first, column, valid, columns, threads_x, threads_y, count,
                threads,
            );
            sync_cube();
        }
    }
}

/// Copies the thread's sums from the `first` on to shared memory.
#[cube]
fn copy_sums(
    sums: &Array<V4>,
    shared: &mut Shared<[V4]>,
    first: usize,
    threads_x: usize,
    threads_y: usize,
    #[comptime] count: usize,
    #[comptime] threads: usize,
) {
    let thread = UNIT_POS as usize;
    if thread < threads_x * threads_y {
        for i in 0..AT_ONCE {
            if first + i < count {
                shared[i * threads + thread] = sums[first + i];
            }
        }
    }
}

/// Each of the first rows of threads adds up one of the sums in shared memory, in the order of the threads.
#[cube]
fn add_sums<N: Size>(
    shared: &Shared<[V4]>,
    parts: &mut [Vector<f32, N>],
    row: usize,
    first: usize,
    column: usize,
    valid: usize,
    columns: usize,
    threads_x: usize,
    threads_y: usize,
    #[comptime] count: usize,
    #[comptime] threads: usize,
) {
    let x = UNIT_POS as usize % threads_x;
    let i = UNIT_POS as usize / threads_x;
    if i < AT_ONCE && first + i < count {
        let mut sum = V4::new(0.0);
        for other in 0..threads_y {
            sum += shared[i * threads + other * threads_x + x];
        }
        let to = (row * count + first + i) * columns + column;
        store::<N>(parts, to, valid, sum);
    }
}
