//! Tests of kernels that read neighbouring pixels, and of the maps that they read.

use super::{Arguments, ROWS, SIZE, check};
use crate::kernels::depthwise::{Forward, InputGradient};
use crate::kernels::map::{Fill, FillMap};
use crate::kernels::max_pool::{MaxPool, MaxPoolGradient};
use crate::simd::stored::Stored;

#[test]
fn maps_are_float32_with_the_same_bits() {
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
            // The results of stride 2 go after those of stride 1.
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
