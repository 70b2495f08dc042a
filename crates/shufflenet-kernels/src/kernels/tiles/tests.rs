//! Tests of tile order, and of products in tile order against sums in float64.

use half::bf16;

use super::*;
use crate::kernels::rows::{NormGradient, Rows};
use crate::simd::Isa;
use crate::simd::amx::Tiles;
use crate::simd::stored::Stored;
use crate::testing::numbers;

/// Rows and columns of matrices, with whole tiles, each kind of tail, an odd number of columns, and less than a tile.
const SIZES: [[usize; 2]; 7] = [
    [32, 32],
    [64, 96],
    [49, 58],
    [70, 24],
    [33, 116],
    [17, 31],
    [1, 1],
];

fn rounded(x: f32) -> f32 {
    bf16::from_f32(x).widened()
}

/// The value of the left side in tile order, in row `row` and term `term` of the sum.
fn left_at(packed: &[bf16], terms: usize, row: usize, term: usize) -> f32 {
    let tile = row / 16 * terms.div_ceil(32) + term / 32;
    packed[tile * 512 + row % 16 * 32 + term % 32].widened()
}

/// The value of the right side in tile order, in term `term` of the sum and column `column`.
fn right_at(packed: &[bf16], terms: usize, term: usize, column: usize) -> f32 {
    let tile = column / 16 * terms.div_ceil(32) + term / 32;
    packed[tile * 512 + term % 32 / 2 * 32 + column % 16 * 2 + term % 2].widened()
}

/// Tests packing with NaN after each row of the matrix and in the buffer before.
fn check<T: Stored>(stored: fn(f32) -> T) {
    for isa in Isa::available() {
        for [rows, columns] in SIZES {
            let stride = columns + 3;
            let mut x: Vec<T> = numbers(rows * stride, 1).into_iter().map(stored).collect();
            for row in x.chunks_exact_mut(stride) {
                row[columns..].fill(stored(f32::NAN));
            }
            let value = |row: usize, column: usize| match row < rows && column < columns {
                true => rounded(x[row * stride + column].widened()),
                false => 0.0,
            };
            let nan = |len| vec![bf16::NAN; len];
            for transposed in [false, true] {
                let mut by_rows = nan(packed_len(rows, columns));
                isa.run(ByRows {
                    rows,
                    columns,
                    x: Rows::new(&x, stride),
                    transposed,
                    out: &mut by_rows,
                });
                let mut by_columns = nan(packed_len(columns, rows));
                isa.run(ByColumns {
                    rows,
                    columns,
                    x: Rows::new(&x, stride),
                    transposed,
                    out: &mut by_columns,
                });
                for row in 0..rows.next_multiple_of(32) {
                    for column in 0..columns.next_multiple_of(32) {
                        let [a, b] = match transposed {
                            false => [
                                left_at(&by_rows, columns, row, column),
                                right_at(&by_columns, rows, row, column),
                            ],
                            true => [
                                right_at(&by_rows, columns, column, row),
                                left_at(&by_columns, rows, column, row),
                            ],
                        };
                        let expected = value(row, column);
                        let at = format!("{isa:?} {rows}x{columns} {transposed} {row},{column}");
                        assert_eq!([a, b], [expected, expected], "{at}");
                    }
                }
            }
        }
    }
}

#[test]
fn float32_is_rounded_into_tile_order_and_padded_with_zeros() {
    check::<f32>(|x| x);
}

#[test]
fn bfloat16_is_moved_into_tile_order_and_padded_with_zeros() {
    check::<bf16>(bf16::from_f32);
}

#[test]
fn the_gradient_of_a_norm_has_the_same_values_in_tile_order_and_in_rows() {
    for isa in Isa::available() {
        for [rows, columns] in SIZES {
            let padded = isa.padded(columns);
            let stored = |seed| -> Vec<bf16> {
                let numbers = numbers(rows * columns, seed).into_iter();
                numbers.map(bf16::from_f32).collect()
            };
            let (g, y) = (stored(1), stored(2));
            let [mean, a, b, c] = [3, 4, 5, 6].map(|seed| {
                let mut vector = numbers(padded, seed);
                vector[columns..].fill(0.0);
                vector
            });
            let mut dy = vec![0.0; rows * padded];
            isa.run(NormGradient {
                rows,
                columns,
                g: Rows::new(&g, columns),
                y: Rows::new(&y, columns),
                mean: &mean,
                factors: [&a, &b, &c],
                out: &mut dy,
                out_stride: padded,
            });
            let mut by_rows = vec![bf16::NAN; packed_len(rows, columns)];
            let mut by_columns = vec![bf16::NAN; packed_len(columns, rows)];
            isa.run(NormGradientTiles {
                rows,
                columns,
                g: Rows::new(&g, columns),
                y: Rows::new(&y, columns),
                mean: &mean,
                factors: [&a, &b, &c],
                by_rows: &mut by_rows,
                by_columns: &mut by_columns,
            });
            for row in 0..rows.next_multiple_of(32) {
                for column in 0..columns.next_multiple_of(32) {
                    let expected = match row < rows && column < columns {
                        true => rounded(dy[row * padded + column]),
                        false => 0.0,
                    };
                    let found = [
                        left_at(&by_rows, columns, row, column),
                        right_at(&by_columns, rows, row, column),
                    ];
                    assert_eq!(found, [expected; 2], "{isa:?} {rows}x{columns}");
                }
            }
        }
    }
}

/// On x86-64 Linux without AMX the instructions are emulated. On other platforms there is nothing to test.
#[test]
fn a_product_in_tiles_is_the_sum_of_products() {
    let Some(tiles) = Tiles::configure() else {
        return;
    };
    for isa in Isa::available() {
        for ([rows, inner], columns) in SIZES.into_iter().zip([1, 24, 58, 116, 33, 32, 64]) {
            let (x, w) = (numbers(rows * inner, 1), numbers(columns * inner, 2));
            let mut left = vec![bf16::NAN; packed_len(rows, inner)];
            isa.run(ByRows {
                rows,
                columns: inner,
                x: Rows::new(&x, inner),
                transposed: false,
                out: &mut left,
            });
            let mut right = vec![bf16::NAN; packed_len(columns, inner)];
            isa.run(ByRows {
                rows: columns,
                columns: inner,
                x: Rows::new(&w, inner),
                transposed: true,
                out: &mut right,
            });
            let expected = |row: usize, column: usize| -> f64 {
                let of = |x: &[f32], row: usize, k: usize| f64::from(rounded(x[row * inner + k]));
                (0..inner).map(|k| of(&x, row, k) * of(&w, column, k)).sum()
            };
            let out_row = columns + 3;
            for accumulate in [false, true] {
                let before = numbers(rows * out_row, 3);
                let mut out = before.clone();
                let product = Product {
                    rows,
                    inner,
                    columns,
                    left: &left,
                    right: &right,
                    out: &mut out,
                    out_row,
                    accumulate,
                };
                product.run(isa, &tiles);
                for (at, (out, before)) in out.into_iter().zip(before).enumerate() {
                    let (row, column) = (at / out_row, at % out_row);
                    let expected = match (column < columns, accumulate) {
                        (false, _) => f64::from(before),
                        (true, true) => f64::from(before) + expected(row, column),
                        (true, false) => expected(row, column),
                    };
                    let error = (f64::from(out) - expected).abs();
                    assert!(error < 2e-5, "{isa:?} {rows}x{inner}x{columns}: {error}");
                }
            }
            // Add the same product twice, in blocks.
            let mut sums = vec![0.0; blocks_len(rows, columns)];
            for _ in 0..2 {
                add_product(&tiles, [rows, inner, columns], [&left, &right], &mut sums);
            }
            let mut out = vec![0.0; rows * out_row];
            blocks_to_rows(isa, [rows, columns], &sums, &mut out, out_row);
            for (at, out) in out.into_iter().enumerate() {
                let (row, column) = (at / out_row, at % out_row);
                let expected = match column < columns {
                    true => 2.0 * expected(row, column),
                    false => 0.0,
                };
                assert!((f64::from(out) - expected).abs() < 4e-5);
            }
        }
    }
}
