//! Test of the matrix product.

use super::{Arguments, ROWS, check};
use crate::kernels::matmul::Matmul;
use crate::kernels::prefetch::Ahead;
use crate::simd::stored::Stored;

#[test]
fn a_product_rounds_once_and_adds_to_the_stored_values() {
    fn run<T: Stored>(at: Arguments<T>) {
        let [left, right, ..] = at.f;
        let inner = 19;
        for (out, accumulate) in at.out.into_iter().zip([false, true]) {
            at.isa.run(Matmul {
                rows: ROWS,
                inner,
                columns: at.columns,
                left,
                left_strides: [inner, 1],
                right,
                right_row: at.isa.padded(at.columns),
                out,
                out_row: at.stride,
                accumulate,
                ahead: [Ahead::of(at.x[0]), Ahead::default()],
            });
        }
    }
    check(run, run);
}
