//! Tests of kernels in bfloat16 against the same kernels in float32 on rounded values, and of the chain with several
//! threads.

use half::bf16;

use super::depthwise::{Taps, depthwise};
use super::place::Place;
use super::product::Product;
use super::reading::{Left, Reading};
use super::*;
use crate::kernels::map::MapShape;
use crate::kernels::rows::Rows;
use crate::simd::{Isa, Products};
use crate::testing::numbers;

fn rounded(values: &[f32]) -> Vec<bf16> {
    values.iter().map(|x| bf16::from_f32(*x)).collect()
}

fn widened(values: &[bf16]) -> Vec<f32> {
    values.iter().map(|x| x.to_f32()).collect()
}

fn layer(outputs: usize, inputs: usize, seed: usize) -> Folded {
    let scale = (3.0 / inputs as f32).sqrt();
    let weight = numbers(outputs * inputs, seed);
    Folded {
        weight: weight.iter().map(|w| scale * w).collect(),
        bias: numbers(outputs, seed + 1),
    }
}

#[test]
fn the_columns_of_stored_rows_are_read_in_both_precisions() {
    let columns = [0, 1, 17, 18, 19, 40, 47, 95];
    for isa in Isa::available() {
        let reading = Reading::new(isa, &columns, false);
        let (rows, stride) = (7, 96);
        let stored = rounded(&numbers(rows * stride, 1));
        let wide = widened(&stored);
        let narrow = reading.read(isa, Rows::new(&stored[..], stride), rows);
        let float = reading.read(isa, Rows::new(&wide[..], stride), rows);
        for (read, row) in [(&narrow, columns.len() * isa.lanes()), (&float, stride)] {
            let Left::Float32(left, terms) = read.left() else {
                panic!("{isa:?}: not in float32");
            };
            // Only the vectors that contain a column are copied.
            assert!(left.data.len() <= rows * row);
            for row in 0..rows {
                for (column, term) in columns.iter().zip(terms) {
                    let expected = wide[row * stride + *column as usize];
                    let found = left.data[row * left.stride + *term as usize];
                    assert_eq!(found, expected, "{isa:?} {row},{column}");
                }
            }
        }
    }
}

/// The float32 result is compared with float64, and the bfloat16 result with the rounded float32 result.
#[test]
fn a_product_is_rounded_once_when_it_is_stored() {
    for isa in Isa::available() {
        for (rows, inputs, outputs) in [(1, 1, 1), (29, 24, 58), (31, 58, 116), (50, 7, 33)] {
            let places: Vec<usize> = (0..inputs)
                .map(|k| (k * 5) % (5 * inputs) + k % 2)
                .collect();
            let folded = layer(outputs, inputs, 3);
            let weights = Weights::new(isa, &folded, &places);
            let left_row = 5 * inputs + 3;
            let left = numbers(rows * left_row, 5);
            // Maps of 4 by 3 pixels.
            let shape = MapShape {
                height: 4,
                width: 3,
                channels: weights.padded(),
                before: 1,
                after: 1,
            };
            let maps = Place::maps(shape);
            for place in [Place::rows(weights.padded() + 16, 16), maps] {
                let len = place.at(5 + rows) + weights.padded();
                let (mut wide, mut narrow) = (vec![-1.0; len], vec![bf16::NEG_ONE; len]);
                isa.run(product(&weights, rows, (&left, left_row), &mut wide, place));
                isa.run(product(
                    &weights,
                    rows,
                    (&left, left_row),
                    &mut narrow,
                    place,
                ));
                assert_eq!(narrow, rounded(&wide), "{isa:?} {rows}x{inputs}x{outputs}");
                for row in 0..rows {
                    for j in 0..outputs {
                        let term = |k: usize| {
                            let x = left[row * left_row + places[k]];
                            f64::from(x) * f64::from(folded.weight[j * inputs + k])
                        };
                        let sum: f64 = (0..inputs).map(term).sum();
                        let expected = (sum + f64::from(folded.bias[j])).max(0.0);
                        let error = (f64::from(wide[place.at(5 + row) + j]) - expected).abs();
                        assert!(error < 1e-5, "{isa:?} {row},{j}: {error}");
                    }
                }
            }
        }
    }
}

/// The convolution in vectors, pairs or tiles, on every instruction set, is compared with float64 on the operands that the
/// instruction set reads.
#[test]
fn a_convolution_reads_the_columns_of_stored_rows() {
    for isa in Isa::available() {
        for (rows, inputs, outputs) in [(1, 1, 1), (29, 24, 58), (97, 58, 116), (50, 7, 33)] {
            // The columns are in another order than the inputs, and have gaps.
            let read: Vec<usize> = (0..inputs).map(|k| 3 * ((k * 5) % inputs)).collect();
            let folded = layer(outputs, inputs, 3);
            let (reading, pointwise) = pointwise::reading(isa, Precision::Bf16, &folded, &read);
            assert_eq!(pointwise.products(), isa.bf16_products());
            let operand = |x: f32| match pointwise.products() {
                Products::Widened => f64::from(x),
                Products::Pairs | Products::Tiles => f64::from(bf16::from_f32(x).to_f32()),
            };
            let stride = isa.padded(3 * inputs);
            let x = rounded(&numbers(rows * stride, 5));
            let stored = reading.read(isa, Rows::new(&x[..], stride), rows);
            let out_row = pointwise.weights.padded();
            let mut out = vec![-1.0; rows * out_row];
            let place = (Place::rows(out_row, 0), 0);
            let (panels, out_at) = (pointwise.weights.all(), (&mut out[..], 0));
            pointwise.run(isa, rows, stored.left(), panels, out_at, place);
            for (at, found) in out.iter().enumerate() {
                let (row, j) = (at / out_row, at % out_row);
                let sum: f64 = match j < outputs {
                    true => (0..inputs)
                        .map(|k| {
                            let x = f64::from(x[row * stride + read[k]].to_f32());
                            x * operand(folded.weight[j * inputs + k])
                        })
                        .sum(),
                    false => 0.0,
                };
                let bias = folded.bias.get(j).copied().unwrap_or_default();
                let error = (f64::from(*found) - (sum + f64::from(bias)).max(0.0)).abs();
                assert!(
                    error < 2e-5,
                    "{isa:?} {rows}x{inputs}x{outputs} {row},{j}: {error}"
                );
            }
        }
    }
}

/// The product of all columns, written to the rows from row 5 on.
fn product<'a, T>(
    weights: &'a Weights,
    rows: usize,
    (left, left_row): (&'a [f32], usize),
    out: &'a mut [T],
    place: Place,
) -> Product<'a, T> {
    Product {
        rows,
        left,
        left_row,
        terms: &weights.terms,
        weights,
        panels: weights.all(),
        relu: true,
        out,
        out_start: 0,
        place,
        first: 5,
    }
}

#[test]
fn maps_in_bfloat16_are_convolved_in_float32() {
    for isa in Isa::available() {
        for (stride, height, width, channels) in
            [(1, 5, 7, 24), (2, 5, 7, 24), (1, 4, 16, 9), (2, 8, 3, 40)]
        {
            let taps = Taps::new(isa, &layer(channels, 9, 1), stride);
            let shape = MapShape {
                height,
                width,
                channels: taps.channels(),
                before: 1,
                after: 1,
            };
            let images = 3;
            let mut maps = numbers(images * shape.len(), 2);
            let each = maps.chunks_exact_mut(shape.len());
            each.for_each(|map| shape.clear_border(map));
            let maps = rounded(&maps);
            let wide = widened(&maps);
            let pixels = images * height.div_ceil(stride) * width.div_ceil(stride);
            let run = |pixels: std::ops::Range<usize>| {
                let mut out = [0, 1].map(|_| vec![0.0; pixels.len() * taps.channels()]);
                let [narrow, float] = &mut out;
                depthwise(isa, &taps, (&maps[..], shape), &pixels, narrow);
                depthwise(isa, &taps, (&wide[..], shape), &pixels, float);
                assert_eq!(narrow, float, "{isa:?} {stride} {pixels:?}");
                let [out, _] = out;
                out
            };
            let all = run(0..pixels);
            // Blocks may begin and end at any row.
            for block in [1, 2, 5, 11] {
                let starts = (0..pixels).step_by(block);
                let blocks = starts.flat_map(|start| run(start..pixels.min(start + block)));
                assert_eq!(blocks.collect::<Vec<_>>(), all, "{isa:?} {stride} {block}");
            }
            check_depthwise(&taps, shape, &wide, &all, &layer(channels, 9, 1));
        }
    }
}

/// Compares the convolution with its equation in float64.
fn check_depthwise(taps: &Taps, shape: MapShape, maps: &[f32], out: &[f32], layer: &Folded) {
    let [height, width] = [shape.height, shape.width].map(|size| size.div_ceil(taps.stride));
    for (pixel, out) in out.chunks_exact(taps.channels()).enumerate() {
        let (image, y, x) = (
            pixel / (height * width),
            pixel / width % height,
            pixel % width,
        );
        for (c, bias) in layer.bias.iter().enumerate() {
            let term = |t: usize| {
                let line = image * shape.len() + (taps.stride * y + t / 3) * shape.row();
                let z = maps[line + (taps.stride * x + t % 3) * shape.channels + c];
                f64::from(z) * f64::from(layer.weight[9 * c + t])
            };
            let expected = (0..9).map(term).sum::<f64>() + f64::from(*bias);
            let error = (f64::from(out[c]) - expected).abs();
            assert!(error < 1e-5, "{pixel},{c}: {error}");
        }
    }
}

/// A chain with every part: pooling, both kinds of units, a residual sum, and widths that do not fill a vector.
fn parts() -> Parts<Folded> {
    let unit = |left_channels: usize, residual: bool, seed: usize| BasicParts {
        left_channels,
        residual,
        right: [
            layer(14, 14, seed),
            layer(14, 9, seed + 2),
            layer(14, 14, seed + 4),
        ],
    };
    let stage = |inputs: usize, seed: usize| StageParts {
        right: [
            layer(10, inputs, seed),
            layer(10, 9, seed + 2),
            layer(14, 10, seed + 4),
        ],
        left: [layer(inputs, 9, seed + 6), layer(14, inputs, seed + 8)],
        right_first: seed.is_multiple_of(2),
        units: vec![unit(14, false, seed + 20), unit(14, true, seed + 30)],
    };
    Parts {
        input_channels: 3,
        stem: layer(11, 27, 1),
        stem_stride: 1,
        pool: Some(1),
        stages: vec![stage(11, 101), stage(28, 202)],
        head: layer(70, 28, 3),
        classifier: layer(5, 70, 5),
    }
}

// WebAssembly has no threads.
#[cfg(not(target_family = "wasm"))]
#[test]
fn logits_do_not_depend_on_threads_or_on_other_images() {
    let size = [37, 30];
    let images = numbers(9 * 3 * size[0] * size[1], 9);
    let precisions = [Precision::F32, Precision::Bf16];
    let sets = Isa::available().into_iter();
    for (isa, precision) in sets.flat_map(|isa| precisions.map(|precision| (isa, precision))) {
        let chain = Chain::on(isa, &parts(), precision);
        let run = |threads: usize, count: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let images = &images[..count * 3 * size[0] * size[1]];
            pool.unwrap()
                .install(|| chain.run(images, [count, size[0], size[1]]))
        };
        let expected = run(1, 9);
        for (threads, count) in [(1, 1), (2, 1), (3, 2), (7, 3), (2, 9), (3, 8), (4, 9)] {
            let logits = run(threads, count);
            let what = format!("{isa:?}, {precision:?}, {count} images, {threads} threads");
            assert_eq!(logits[..], expected[..5 * count], "{what}");
        }
    }
}

/// A path from pixel to logit stores `n` values, and the rounding error of each is at most 2^-9 of it. The signs are
/// random, so the squares of the errors add up. Three standard deviations are accepted. This also leaves room for the
/// rounded weights and the rounded outputs of depthwise convolutions in products by pairs or tiles.
#[test]
fn logits_in_bfloat16_are_near_those_in_float32() {
    // With the first size the last maps have few pixels, with the second more than a block of rows.
    for isa in Isa::available() {
        for size in [[4, 33, 33], [2, 130, 140]] {
            near(isa, size);
        }
    }
}

fn near(isa: Isa, [count, height, width]: [usize; 3]) {
    let images = numbers(count * 3 * height * width, 9);
    let [wide, narrow] = [Precision::F32, Precision::Bf16]
        .map(|precision| Chain::on(isa, &parts(), precision).run(&images, [count, height, width]));
    // One value in the stem, and two in each of six units.
    let bound = 3.0 * 13f32.sqrt() / 512.0;
    let largest = wide.iter().fold(0f32, |most, x| most.max(x.abs()));
    let errors = wide.iter().zip(&narrow).map(|(a, b)| (a - b).abs());
    let error = errors.fold(0f32, f32::max) / largest;
    assert!(0.0 < error && error < bound, "{isa:?}: {error} of {bound}");
}
