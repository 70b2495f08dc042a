//! Tests of the channel shuffle, forward and backward.

use super::{Arguments, ROWS, check};
use crate::kernels::shuffle::{BranchSink, Shuffle, Sink, Source, Unshuffle};
use crate::simd::stored::Stored;

#[test]
fn a_shuffle_moves_one_side_and_rounds_the_other_once() {
    fn run<T: Stored>(at: Arguments<T>) {
        let [x, y, residual] = at.rows();
        let [scale, shift, ..] = at.f;
        let [out, other] = at.out;
        let passed = Source::plain(x);
        for (sides, out) in [
            ([passed, Source::plain(y)], other),
            (
                [
                    passed,
                    Source {
                        x: y,
                        norm: Some([scale, shift]),
                        residual: Some(residual),
                    },
                ],
                out,
            ),
        ] {
            at.isa.run(Shuffle {
                rows: ROWS,
                half: at.columns,
                sides,
                out,
            });
        }
    }
    check(run, run);
}

#[test]
fn the_backward_of_a_shuffle_moves_gradients_and_sums_the_stored_values() {
    fn run<T: Stored>(at: Arguments<T>) {
        let [dout, y, _] = at.rows();
        let [scale, shift, mean, _] = at.f;
        let ([dx, g], [plain, weighted]) = (at.out, at.floats);
        at.isa.run(Unshuffle {
            rows: ROWS,
            half: at.columns,
            dout,
            sides: [
                Sink {
                    passed: Some(1),
                    branch: None,
                },
                Sink {
                    passed: Some(at.columns + 2),
                    branch: Some(BranchSink {
                        y,
                        scale,
                        shift,
                        mean,
                        g,
                        sums: [plain, weighted],
                    }),
                },
            ],
            dx,
            dx_stride: at.stride,
        });
    }
    check(run, run);
}
