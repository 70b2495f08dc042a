//! A kernel between bfloat16 values is the same kernel between float32 values, rounded once: what it computes in float32
//! has the same bits, and what it stores is the float32 result rounded to the nearest. Other tests hold the float32
//! kernels to float64.

use half::bf16;

use super::column_sums::{CenteredSums, GradientSums};
use super::depthwise::{Forward, InputGradient};
use super::map::{Fill, FillMap, MapShape};
use super::matmul::Matmul;
use super::max_pool::{MaxPool, MaxPoolGradient};
use super::prefetch::Ahead;
use super::rows::{Copy, NormGradient, NormRelu, NormReluMean, ReluGradient, Rows, Widened};
use super::shuffle::{BranchSink, Shuffle, Sink, Source, Unshuffle};
use crate::simd::Isa;
use crate::simd::stored::Stored;

/// Height and width of an image.
const SIZE: [usize; 2] = [7, 5];
/// Pixels of it.
const ROWS: usize = SIZE[0] * SIZE[1];

/// Arguments of a kernel, all of them longer than it needs.
struct Arguments<'a, T> {
    isa: Isa,
    columns: usize,
    stride: usize,
    /// Stored values to read.
    x: [&'a [T]; 3],
    /// Float32 values to read.
    f: [&'a [f32]; 4],
    /// Stored values to write.
    out: [&'a mut [T]; 2],
    /// Float32 values to write.
    floats: [&'a mut [f32]; 2],
}

impl<'a, T: Stored> Arguments<'a, T> {
    fn rows(&self) -> [Rows<'a, T>; 3] {
        self.x.map(|x| Rows::new(x, self.stride))
    }

    /// The map of an image with so many zeros before it and one after it.
    fn map(&self, before: usize, stride: usize) -> MapShape {
        let [height, width] = SIZE.map(|size| size.div_ceil(stride));
        MapShape {
            height,
            width,
            channels: self.isa.padded(self.columns),
            before,
            after: 1,
        }
    }
}

/// Numbers of mean near 0, with a tenth of them zero.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| match (i * 31 + seed) % 10 {
        0 => 0.0,
        _ => ((i * 7919 + seed * 104_729) % 10_007) as f32 / 5_003.5 - 1.0,
    };
    (0..count).map(number).collect()
}

/// Runs a kernel on bfloat16 values and on the same values in float32.
fn check(narrow: fn(Arguments<bf16>), wide: fn(Arguments<f32>)) {
    for isa in Isa::available() {
        for columns in [1, 2, 7, 8, 13, 16, 24, 31, 58] {
            let stride = 2 * columns + 3;
            let count = (ROWS + 1) * isa.padded(stride) + 9 * isa.padded(columns) * ROWS;
            let stored = |seed| -> Vec<bf16> {
                let numbers = numbers(count, seed).into_iter();
                numbers.map(bf16::from_f32).collect()
            };
            let x = [0, 1, 2].map(stored);
            let widened = x.each_ref().map(|x| wide_of(x));
            let f = [3, 4, 5, 6].map(|seed| numbers(count, seed));
            let f = f.each_ref().map(|f| &f[..]);
            let mut out = [7, 8].map(stored);
            let mut wide_out = out.each_ref().map(|out| wide_of(out));
            let mut floats = [9, 10].map(|seed| numbers(count, seed));
            let mut wide_floats = floats.clone();
            narrow(Arguments {
                isa,
                columns,
                stride,
                x: x.each_ref().map(|x| &x[..]),
                f,
                out: out.each_mut().map(|out| &mut out[..]),
                floats: floats.each_mut().map(|floats| &mut floats[..]),
            });
            wide(Arguments {
                isa,
                columns,
                stride,
                x: widened.each_ref().map(|x| &x[..]),
                f,
                out: wide_out.each_mut().map(|out| &mut out[..]),
                floats: wide_floats.each_mut().map(|floats| &mut floats[..]),
            });
            assert!(floats == wide_floats, "{isa:?}, {columns} columns");
            for (out, wide) in out.iter().zip(wide_out) {
                let wide = wide.into_iter().map(bf16::from_f32);
                let same = |(a, b): (&bf16, bf16)| a.to_bits() == b.to_bits();
                assert!(out.iter().zip(wide).all(same), "{isa:?}, {columns} columns");
            }
        }
    }
}

fn wide_of(x: &[bf16]) -> Vec<f32> {
    x.iter().map(|x| x.widened()).collect()
}

#[test]
fn a_copy_rounds_once_and_to_float32_not_at_all() {
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

#[test]
fn maps_are_float32() {
    fn run<T: Stored>(at: Arguments<T>) {
        let [g, y, _] = at.rows();
        let [scale, shift, mean, a] = at.f;
        let (plain, normed) = (at.map(1, 1), at.map(0, 1));
        let factors = [scale, shift, a];
        let [floats, more] = at.floats;
        let (first, rest) = more.split_at_mut(normed.len());
        for (shape, fill, map) in [
            (plain, Fill::Plain, floats),
            (normed, Fill::NormRelu { scale, shift }, first),
            (plain, Fill::NormGradient { g, mean, factors }, rest),
        ] {
            at.isa.run(FillMap {
                shape,
                columns: at.columns,
                y,
                fill,
                map,
            });
        }
    }
    check(run, run);
}

#[test]
fn the_depthwise_convolution_rounds_once() {
    fn run<T: Stored>(mut at: Arguments<T>) {
        let [map, weight, dy, _] = at.f;
        for stride in [1, 2] {
            let (shape, dy_shape) = (at.map(1, 1), at.map(usize::from(stride == 1), stride));
            at.isa.run(Forward {
                shape,
                columns: at.columns,
                stride,
                map,
                weight,
                out: at.out[0],
            });
            for relu in [None, Some((map, shape))] {
                let at_relu = usize::from(relu.is_some()) * ROWS * at.stride;
                at.isa.run(InputGradient {
                    size: SIZE,
                    columns: at.columns,
                    stride,
                    dy_shape,
                    dy,
                    weight,
                    relu,
                    out: &mut at.out[1][at_relu..],
                    out_stride: at.stride,
                });
            }
            // What stride 2 writes goes behind.
            at.out = at.out.map(|out| &mut out[2 * ROWS * at.stride..]);
        }
    }
    check(run, run);
}

#[test]
fn max_pooling_rounds_once_and_keeps_its_places() {
    fn run<T: Stored>(at: Arguments<T>) {
        let shape = at.map(1, 1);
        let ([out, places], columns) = (at.out, at.columns);
        let pixels = 4 * 3;
        let map: Vec<f32> = at.f[0].iter().map(|x| x.max(0.0)).collect();
        at.isa.run(MaxPool {
            shape,
            columns,
            map: &map,
            out: &mut out[..pixels * columns],
            places: &mut places[..pixels * columns],
        });
        at.isa.run(MaxPoolGradient {
            shape,
            columns,
            dout: &at.x[0][..pixels * columns],
            places: &places[..pixels * columns],
            map: at.floats[0],
        });
    }
    check(run, run);
}

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
fn its_backward_moves_gradients_and_sums_what_it_stores() {
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

#[test]
fn a_product_rounds_once_and_adds_to_what_is_stored() {
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
