//! Tests of passes over rows.

use super::{Arguments, ROWS, check};
use crate::kernels::column_sums::{CenteredSums, GradientSums};
use crate::kernels::rows::{
    Copy, NormGradient, NormRelu, NormReluMean, ReluGradient, Rows, Widened,
};
use crate::simd::stored::Stored;

#[test]
fn a_copy_to_bfloat16_rounds_once_and_a_copy_to_float32_does_not_round() {
    fn run<T: Stored>(at: Arguments<T>) {
        let [x, ..] = at.rows();
        let (isa, columns, out_stride) = (at.isa, at.columns, at.stride);
        let ([out, rounded], [floats, _]) = (at.out, at.floats);
        isa.run(Copy {
            rows: ROWS,
            columns,
            x,
            out,
            out_stride,
        });
        isa.run(Copy {
            rows: ROWS,
            columns,
            x: Rows::new(at.f[0], columns),
            out: rounded,
            out_stride,
        });
        let mut widened = Widened::new::<T>(isa, ROWS, columns);
        let rows = widened.rows(x, ROWS);
        for (row, floats) in floats.chunks_exact_mut(columns).take(ROWS).enumerate() {
            floats.copy_from_slice(&rows.data[row * rows.stride..][..columns]);
        }
    }
    check(run, run);
}

#[test]
fn norm_and_relu_round_once() {
    fn run<T: Stored>(at: Arguments<T>) {
        let [y, residual, _] = at.rows();
        let (isa, columns, out_stride) = (at.isa, at.columns, at.stride);
        let [scale, shift, ..] = at.f;
        let ([out, _], [floats, _]) = (at.out, at.floats);
        isa.run(NormRelu {
            rows: ROWS,
            columns,
            y,
            scale,
            shift,
            residual: Some(residual),
            out,
            out_stride,
        });
        isa.run(NormReluMean {
            rows: ROWS,
            columns,
            y,
            scale,
            shift,
            out: floats,
        });
    }
    check(run, run);
}

#[test]
fn gradients_of_relu_and_norm_round_once() {
    fn run<T: Stored>(at: Arguments<T>) {
        let [g, y, _] = at.rows();
        let (isa, columns, out_stride) = (at.isa, at.columns, at.stride);
        let [scale, shift, mean, of_images] = at.f;
        let ([out, other], [floats, _]) = (at.out, at.floats);
        isa.run(ReluGradient {
            rows: ROWS,
            columns,
            g,
            y,
            scale,
            shift,
            out,
            out_stride,
        });
        isa.run(ReluGradient {
            rows: ROWS,
            columns,
            g: Rows::new(of_images, 0),
            y,
            scale,
            shift,
            out: other,
            out_stride,
        });
        isa.run(NormGradient {
            rows: ROWS,
            columns,
            g,
            y,
            mean,
            factors: [scale, shift, of_images],
            out: floats,
            out_stride: isa.padded(columns),
        });
    }
    check(run, run);
}

#[test]
fn sums_are_of_the_stored_values() {
    fn run<T: Stored>(at: Arguments<T>) {
        let [g, y, _] = at.rows();
        let [mean, ..] = at.f;
        let [floats, more] = at.floats;
        let half = floats.len() / 2;
        let [first, second] = [floats, more].map(|floats| floats.split_at_mut(half).into());
        at.isa.run(CenteredSums {
            rows: ROWS,
            columns: at.columns,
            x: y,
            center: mean,
            sums: first,
        });
        at.isa.run(GradientSums {
            rows: ROWS,
            columns: at.columns,
            g,
            y,
            mean,
            sums: second,
        });
    }
    check(run, run);
}
