//! The gradient of a weight while it is rows of partial sums.
//!
//! A kernel that computes such a gradient writes a row of partial sums for each share of the batch. The rows are added in
//! order: by a launch that is there anyway ([`GradientSums::finish_with`](crate::gradient_sums::GradientSums::finish_with)),
//! or by a launch of their own ([`Product::sum`]). The bits are the same.

use cubecl::prelude::*;

use crate::arena::Arena;
use crate::buffer::Buffer;
use crate::traffic::Launch;
use crate::vector;

/// Columns of a workgroup, and the groups of rows that it adds up side by side.
const COLUMNS: usize = 8;
const GROUPS: usize = 32;

/// Threads of a workgroup. Each takes one value of shared memory.
pub(crate) const THREADS: usize = COLUMNS * GROUPS;

/// Adds the rows of the columns of block number `block`. The columns are read as a matrix with rows of `channels` and
/// written transposed. With one channel they are written as they are.
#[cube]
pub(crate) fn add_rows(
    parts: &[f32],
    out: &mut [f32],
    shared: &mut Shared<[f32]>,
    block: usize,
    rows: usize,
    row: usize,
    first: usize,
    columns: usize,
    channels: usize,
) {
    let thread = UNIT_POS as usize;
    let group = thread / COLUMNS;
    let column = block * COLUMNS + thread % COLUMNS;
    let mut sum = 0.0f32;
    if column < columns {
        let each = rows.div_ceil(GROUPS);
        for i in 0..each {
            let number = group * each + i;
            if number < rows {
                sum += parts[number * row + first + column];
            }
        }
    }
    shared[thread] = sum;
    sync_cube();
    if group == 0 && column < columns {
        let mut sum = 0.0f32;
        for group in 0..GROUPS {
            sum += shared[group * COLUMNS + thread];
        }
        out[column % channels * (columns / channels) + column / channels] = sum;
    }
}

#[cube(launch_unchecked)]
fn sum_product(
    parts: &[f32],
    out: &mut [f32],
    rows: usize,
    row: usize,
    first: usize,
    columns: usize,
    channels: usize,
) {
    let mut shared = Shared::<[f32]>::new_slice(THREADS);
    add_rows(
        parts,
        out,
        &mut shared,
        CUBE_POS,
        rows,
        row,
        first,
        columns,
        channels,
    );
}

/// Partial sums of a weight's gradient: rows of `row` values, of which those from `first` on are meant.
pub struct Product {
    pub(crate) parts: Buffer,
    pub(crate) rows: usize,
    pub(crate) row: usize,
    pub(crate) first: usize,
    /// Values of the gradient.
    pub(crate) columns: usize,
    /// The values are a matrix with rows of `channels`; the gradient is its transpose. With one channel it is the values as
    /// they are.
    pub(crate) channels: usize,
}

impl Product {
    /// Workgroups that add the rows.
    pub(crate) fn blocks(&self) -> usize {
        self.columns.div_ceil(COLUMNS)
    }

    /// Adds the rows in a launch of their own. The sum is in `arena`.
    pub fn sum(&self, arena: &Arena) -> Buffer {
        let client = &self.parts.client;
        let out = arena.take(self.columns);
        let launch = Launch::of("sum of a weight's gradient")
            .reads(&self.parts, self.rows * self.columns)
            .writes_all([&out]);
        launch.run(|| {
            // SAFETY: every index is below the length of its buffer, by the comparisons with `rows` and `columns`.
            #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
            unsafe {
                sum_product::launch_unchecked(
                    client,
                    vector::workgroups(self.blocks() * THREADS, THREADS as u32),
                    CubeDim::new_1d(THREADS as u32),
                    self.parts.arg(1),
                    out.arg(1),
                    self.rows,
                    self.row,
                    self.first,
                    self.columns,
                    self.channels,
                );
            }
        });
        out
    }
}
