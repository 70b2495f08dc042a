//! Tests of passes over rows.

use super::{Arguments, ROWS, check};
use crate::kernels::column_sums::{CenteredSums, GradientSums};
use crate::kernels::map::{Fill, FillMap, MapShape};
use crate::kernels::rows::{
    Copy, NormGradient, NormRelu, NormReluMean, ReluGradient, Rows, Widened,
};
use crate::kernels::shuffle::{Shuffle, Source};
use crate::simd::Isa;
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

/// A NaN is seen in the loss, on every instruction set, because no ReLU makes a zero of it.
#[test]
fn every_relu_keeps_nan() {
    let (rows, columns) = (3, 24);
    let mut y = vec![1.0f32; rows * columns];
    y[columns + 5] = f32::NAN;
    for isa in Isa::available() {
        let whole = isa.padded(columns);
        let (scale, shift) = (vec![1.0; whole], vec![0.5; whole]);
        let (scale, shift) = (&scale[..], &shift[..]);
        let nans = |values: &[f32]| values.iter().filter(|value| value.is_nan()).count();

        let mut out = vec![0.0; rows * columns];
        isa.run(NormRelu {
            rows,
            columns,
            y: Rows::new(&y, columns),
            scale,
            shift,
            residual: None,
            out: &mut out,
            out_stride: columns,
        });
        assert_eq!(nans(&out), 1, "{isa:?}");

        let shape = MapShape {
            height: 1,
            width: rows,
            channels: whole,
            before: 0,
            after: 0,
        };
        let mut map = vec![0.0; shape.len()];
        isa.run(FillMap {
            shape,
            columns,
            y: Rows::new(&y, columns),
            fill: Fill::NormRelu { scale, shift },
            map: &mut map,
        });
        assert_eq!(nans(&map), 1, "{isa:?}");

        let side = |norm| Source {
            x: Rows::new(&y, columns),
            norm,
            residual: None,
        };
        let mut out = vec![0.0; rows * 2 * columns];
        isa.run(Shuffle {
            rows,
            half: columns,
            sides: [side(None), side(Some([scale, shift]))],
            out: &mut out,
        });
        assert_eq!(nans(&out), 2, "{isa:?}");
    }
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
