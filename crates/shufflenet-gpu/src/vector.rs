//! Reading and writing four channels at a time.
//!
//! Kernels compute on vectors of four channels. Memory is read in vectors of 4, 2 or 1 values, whichever divides the
//! widths of a kernel's maps and the channels at which a branch begins: 58 channels are read two at a time. A kernel
//! has one such width for all its maps, because each is one more pipeline.

use cubecl::prelude::*;

use crate::stored::Stored;

/// Four channels of one pixel.
pub(crate) type V4 = Vector<f32, Const<4>>;

/// The widest vector that divides all of `numbers`, the widths and first channels of maps.
pub(crate) fn width(numbers: &[usize], stored: Stored) -> usize {
    check_whole_words(numbers, stored);
    let divides = |width: &usize| numbers.iter().all(|number| number.is_multiple_of(*width));
    [4, 2].into_iter().find(divides).unwrap_or(1)
}

/// Checks that `numbers`, the widths and first channels of maps, are whole words.
pub(crate) fn check_whole_words(numbers: &[usize], stored: Stored) {
    let in_word = stored.in_word();
    let is_whole = numbers.iter().all(|number| number.is_multiple_of(in_word));
    assert!(is_whole, "maps in bfloat16 have an even number of channels");
}

/// The four values from number `at` on. Those from the `valid`th on are zero and not read.
#[cube]
pub(crate) fn load<N: Size>(data: &[Vector<f32, N>], at: usize, valid: usize) -> V4 {
    let width = N::value();
    let mut four = V4::new(0.0);
    #[unroll]
    for part in 0..comptime!(4 / width) {
        if part * width < valid {
            let vector = data[at / width + part];
            #[unroll]
            for i in 0..width {
                four.insert(comptime!(part * width + i), vector.extract(i));
            }
        }
    }
    four
}

/// Writes the first `valid` of the four values to number `at` and behind it.
#[cube]
pub(crate) fn store<N: Size>(data: &mut [Vector<f32, N>], at: usize, valid: usize, four: V4) {
    let width = N::value();
    #[unroll]
    for part in 0..comptime!(4 / width) {
        if part * width < valid {
            let mut vector = Vector::<f32, N>::new(0.0);
            #[unroll]
            for i in 0..width {
                vector.insert(i, four.extract(comptime!(part * width + i)));
            }
            data[at / width + part] = vector;
        }
    }
}

/// The number of values from `column` on of a row that ends at `columns`. 0 behind its end.
#[cube]
pub(crate) fn valid(column: usize, columns: usize) -> usize {
    let mut left = 0usize;
    if column < columns {
        left = columns - column;
    }
    left
}

/// `max(x, 0)` that keeps NaN, so that a divergence is seen; negative infinity gives NaN, too. A product, because compilers
/// for graphics make a maximum of a selection, and their maximum of NaN and 0 is 0.
#[cube]
pub(crate) fn relu(x: V4) -> V4 {
    let factor = select_many(x.less_than(&V4::new(0.0)), V4::new(0.0), V4::new(1.0));
    x * factor
}

/// Most workgroups in one dimension of a launch.
const MOST_WORKGROUPS: usize = 65_535;

/// Workgroups for `threads` threads, `size` a workgroup. The launch may have more threads than these.
pub(crate) fn workgroups(threads: usize, size: u32) -> CubeCount {
    let count = threads.div_ceil(size as usize).max(1);
    let rows = count.div_ceil(MOST_WORKGROUPS);
    CubeCount::Static(count.div_ceil(rows) as u32, rows as u32, 1)
}
