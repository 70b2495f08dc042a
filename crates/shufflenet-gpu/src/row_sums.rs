//! Adds the rows of partial sums, in order.

use cubecl::prelude::*;

use crate::buffer::Buffer;

/// Columns of a workgroup, and the groups of rows that it adds up side by side.
const COLUMNS: usize = 8;
const GROUPS: usize = 32;

#[cube(launch_unchecked)]
fn kernel(
    parts: &[f32],
    out: &mut [f32],
    rows: usize,
    row: usize,
    first: usize,
    columns: usize,
    channels: usize,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(COLUMNS * GROUPS));
    let unit = UNIT_POS as usize;
    let group = unit / COLUMNS;
    let column = CUBE_POS_X as usize * COLUMNS + unit % COLUMNS;
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
    shared[unit] = sum;
    sync_cube();
    if group == 0 && column < columns {
        let mut sum = 0.0f32;
        for group in 0..GROUPS {
            sum += shared[group * COLUMNS + unit];
        }
        out[column % channels * (columns / channels) + column / channels] = sum;
    }
}

/// Rows of partial sums.
pub(crate) struct Rows<'a> {
    pub parts: &'a Buffer,
    pub rows: usize,
    /// Values of a row, and the first that is meant.
    pub row: usize,
    pub first: usize,
}

/// The sums of `columns` columns, which are read as a matrix with rows of `channels` and written transposed. With one
/// channel they are written as they are.
pub(crate) fn add(from: &Rows, columns: usize, channels: usize) -> Buffer {
    let client = &from.parts.client;
    let out = Buffer::empty(client, columns);
    // SAFETY: every index is below the length of its buffer, by the comparisons with `rows` and `columns`.
    #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
    unsafe {
        kernel::launch_unchecked(
            client,
            CubeCount::Static(columns.div_ceil(COLUMNS) as u32, 1, 1),
            CubeDim::new_1d((COLUMNS * GROUPS) as u32),
            from.parts.arg(1),
            out.arg(1),
            from.rows,
            from.row,
            from.first,
            columns,
            channels,
        );
    }
    out
}
