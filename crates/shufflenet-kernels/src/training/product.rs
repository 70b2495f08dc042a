//! The matrix products of a 1x1 convolution, a block of rows at a time, in one of three ways.
//!
//! - **Vectors**: operands in float32. What is stored as bfloat16 is widened a block at a time, and the gradient of the
//!   convolution's output is never rounded.
//! - **Pairs**, for bfloat16 on processors with AVX512-BF16: operands in pairs of bfloat16 ([`crate::kernels::pairs`]), sums
//!   in float32. The weights and the gradient of the output are rounded, once per product.
//! - **Tiles**, for bfloat16 on processors with AMX: operands in bfloat16, sums in float32. The weights and the gradient
//!   of the output are rounded, once per product.
//!
//! A thread makes a [`Forward`] or a [`Backward`] for its part of the batch, which holds its scratch.

use half::bf16;

use crate::kernels::matmul::Matmul;
use crate::kernels::pairs::{PairedRows, RowPairs, pairs, row_pairs_len};
use crate::kernels::prefetch::Ahead;
use crate::kernels::rows::{NormGradient, Rows, Widened};
use crate::kernels::tiles::{
    ByColumns, ByRows, NormGradientTiles, Product, add_product, blocks_len, blocks_to_rows,
    configured, packed_len,
};
use crate::runtime::buffer::Buffer;
use crate::simd::Isa;
use crate::simd::amx::Tiles;
use crate::simd::stored::Stored;
use crate::training::weights::Weights;

/// The products `x W'` of a thread.
pub enum Forward<'a> {
    Vectors {
        weight: &'a [f32],
        widened: Widened,
    },
    Pairs {
        weight: &'a [bf16],
        rows: PairedRows,
    },
    Tiles {
        tiles: Tiles,
        weight: &'a [bf16],
        left: Buffer<bf16>,
    },
}

impl<'a> Forward<'a> {
    /// Scratch for blocks of at most `rows` rows of `inner` values.
    pub fn new<T: Stored>(isa: Isa, weights: &'a Weights, rows: usize, inner: usize) -> Self {
        match weights {
            Weights::Vectors(weight) => Self::Vectors {
                weight,
                widened: Widened::new::<T>(isa, rows, inner),
            },
            Weights::Pairs(weight) => Self::Pairs {
                weight,
                rows: PairedRows::new(isa, inner),
            },
            Weights::Tiles(weight) => Self::Tiles {
                tiles: configured(),
                weight,
                left: Buffer::any(packed_len(rows, inner)),
            },
        }
    }

    /// Computes the product of `rows` rows of `inner` values, and prefetches what comes after them.
    pub fn block<T: Stored>(
        &mut self,
        isa: Isa,
        [rows, inner, columns]: [usize; 3],
        x: Rows<T>,
        out: &mut [T],
    ) {
        match self {
            Self::Vectors { weight, widened } => {
                let left = widened.rows(x, rows);
                isa.run(Matmul {
                    rows,
                    inner,
                    columns,
                    left: left.data,
                    left_strides: [left.stride, 1],
                    right: weight,
                    right_row: isa.padded(columns),
                    out,
                    out_row: columns,
                    accumulate: false,
                    ahead: [x.storage(rows..2 * rows), Ahead::default()],
                });
            }
            Self::Pairs {
                weight,
                rows: paired,
            } => {
                let (left, stride) = paired.read(x, rows);
                isa.run(Matmul {
                    rows,
                    inner: inner.div_ceil(2),
                    columns,
                    left,
                    left_strides: [stride, 1],
                    right: pairs(weight),
                    right_row: isa.padded(columns),
                    out,
                    out_row: columns,
                    accumulate: false,
                    ahead: [x.storage(rows..2 * rows), Ahead::default()],
                });
            }
            Self::Tiles {
                tiles,
                weight,
                left,
            } => {
                let left = &mut left[..packed_len(rows, inner)];
                isa.run(ByRows {
                    rows,
                    columns: inner,
                    x,
                    transposed: false,
                    out: left,
                });
                let product = Product {
                    rows,
                    inner,
                    columns,
                    left,
                    right: weight,
                    out,
                    out_row: columns,
                    accumulate: false,
                };
                product.run(isa, tiles);
            }
        }
    }
}

/// A block of rows in the backward: the input, the output, the gradient of the output's batch norm, and that norm's
/// backward (see [`NormGradient`]).
pub struct BackwardBlock<'a, T> {
    pub rows: usize,
    pub x: Rows<'a, T>,
    pub y: Rows<'a, T>,
    pub g: Rows<'a, T>,
    pub mean: &'a [f32],
    pub factors: [&'a [f32]; 3],
}

/// The products `dx = dy W` and `x' dy` of a thread.
pub struct Backward<'a> {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    way: Way<'a>,
}

enum Way<'a> {
    Vectors {
        weight: &'a [f32],
        dy: Buffer,
        widened: Widened,
        sums: Buffer,
    },
    Pairs {
        weight: &'a [bf16],
        dy: Buffer<bf16>,
        /// Row pairs of `dy` and of the input.
        row_pairs: [Buffer<bf16>; 2],
        sums: Buffer,
    },
    Tiles {
        tiles: Tiles,
        weight: &'a [bf16],
        dy: [Buffer<bf16>; 2],
        x: Buffer<bf16>,
        sums: Buffer,
    },
}

impl<'a> Backward<'a> {
    /// Scratch for blocks of at most `rows` rows.
    pub fn new<T: Stored>(
        isa: Isa,
        weights: &'a Weights,
        rows: usize,
        [inputs, outputs]: [usize; 2],
    ) -> Self {
        let way = match weights {
            Weights::Vectors(weight) => Way::Vectors {
                weight,
                dy: Buffer::any(rows * isa.padded(outputs)),
                widened: Widened::new::<T>(isa, rows, inputs),
                sums: Buffer::zeros(inputs * isa.padded(outputs)),
            },
            Weights::Pairs(weight) => Way::Pairs {
                weight,
                dy: Buffer::any(rows * isa.padded(outputs)),
                row_pairs: [outputs, inputs]
                    .map(|columns| Buffer::any(row_pairs_len(isa, rows, columns))),
                sums: Buffer::zeros(inputs * isa.padded(outputs)),
            },
            Weights::Tiles(weight) => Way::Tiles {
                tiles: configured(),
                weight,
                dy: [
                    Buffer::any(packed_len(rows, outputs)),
                    Buffer::any(packed_len(outputs, rows)),
                ],
                x: Buffer::any(packed_len(inputs, rows)),
                sums: Buffer::zeros(blocks_len(inputs, outputs)),
            },
        };
        Self {
            isa,
            inputs,
            outputs,
            way,
        }
    }

    /// Computes a block's input gradient into `dx`, rows of `stride` values, or adds it, and adds its part of the
    /// weight's gradient.
    pub fn block<T: Stored>(
        &mut self,
        from: BackwardBlock<T>,
        dx: &mut [T],
        stride: usize,
        accumulate: bool,
    ) {
        let (isa, inputs, outputs) = (self.isa, self.inputs, self.outputs);
        let BackwardBlock {
            rows,
            x,
            y,
            g,
            mean,
            factors,
        } = from;
        let next = rows..2 * rows;
        match &mut self.way {
            Way::Vectors {
                weight,
                dy,
                widened,
                sums,
            } => {
                let padded = isa.padded(outputs);
                isa.run(NormGradient {
                    rows,
                    columns: outputs,
                    g,
                    y,
                    mean,
                    factors,
                    out: dy,
                    out_stride: padded,
                });
                isa.run(Matmul {
                    rows,
                    inner: outputs,
                    columns: inputs,
                    left: dy,
                    left_strides: [padded, 1],
                    right: weight,
                    right_row: isa.padded(inputs),
                    out: dx,
                    out_row: stride,
                    accumulate,
                    ahead: [g.storage(next.clone()), y.storage(next.clone())],
                });
                let left = widened.rows(x, rows);
                isa.run(Matmul {
                    rows: inputs,
                    inner: rows,
                    columns: outputs,
                    left: left.data,
                    left_strides: [1, left.stride],
                    right: dy,
                    right_row: padded,
                    out: sums,
                    out_row: padded,
                    accumulate: true,
                    ahead: [x.storage(next), Ahead::default()],
                });
            }
            Way::Pairs {
                weight,
                dy,
                row_pairs: [dy_pairs, x_pairs],
                sums,
            } => {
                let padded = isa.padded(outputs);
                isa.run(NormGradient {
                    rows,
                    columns: outputs,
                    g,
                    y,
                    mean,
                    factors,
                    out: dy,
                    out_stride: padded,
                });
                isa.run(Matmul {
                    rows,
                    inner: outputs.div_ceil(2),
                    columns: inputs,
                    left: pairs(dy),
                    left_strides: [padded / 2, 1],
                    right: pairs(weight),
                    right_row: isa.padded(inputs),
                    out: dx,
                    out_row: stride,
                    accumulate,
                    ahead: [g.storage(next.clone()), y.storage(next.clone())],
                });
                let dy_pairs = &mut dy_pairs[..row_pairs_len(isa, rows, outputs)];
                isa.run(RowPairs {
                    rows,
                    columns: outputs,
                    x: Rows::new(dy, padded),
                    out: dy_pairs,
                });
                let x_pairs = &mut x_pairs[..row_pairs_len(isa, rows, inputs)];
                isa.run(RowPairs {
                    rows,
                    columns: inputs,
                    x,
                    out: x_pairs,
                });
                isa.run(Matmul {
                    rows: inputs,
                    inner: rows.div_ceil(2),
                    columns: outputs,
                    left: pairs(x_pairs),
                    left_strides: [1, isa.padded(inputs)],
                    right: pairs(dy_pairs),
                    right_row: padded,
                    out: sums,
                    out_row: padded,
                    accumulate: true,
                    ahead: [x.storage(next), Ahead::default()],
                });
            }
            Way::Tiles {
                tiles,
                weight,
                dy: [by_rows, by_columns],
                x: left,
                sums,
            } => {
                let by_rows = &mut by_rows[..packed_len(rows, outputs)];
                let by_columns = &mut by_columns[..packed_len(outputs, rows)];
                isa.run(NormGradientTiles {
                    rows,
                    columns: outputs,
                    g,
                    y,
                    mean,
                    factors,
                    by_rows,
                    by_columns,
                });
                let product = Product {
                    rows,
                    inner: outputs,
                    columns: inputs,
                    left: by_rows,
                    right: weight,
                    out: dx,
                    out_row: stride,
                    accumulate,
                };
                product.run(isa, tiles);
                let left = &mut left[..packed_len(inputs, rows)];
                isa.run(ByColumns {
                    rows,
                    columns: inputs,
                    x,
                    transposed: true,
                    out: left,
                });
                add_product(tiles, [inputs, rows, outputs], [left, by_columns], sums);
            }
        }
    }

    /// The weight's gradient, `[inputs][outputs]` with rows padded to whole vectors.
    pub fn into_weight_gradient(self) -> Buffer {
        let (isa, row) = (self.isa, self.isa.padded(self.outputs));
        match self.way {
            Way::Vectors { sums, .. } | Way::Pairs { sums, .. } => sums,
            Way::Tiles { sums, .. } => {
                let mut out = Buffer::zeros(self.inputs * row);
                blocks_to_rows(isa, [self.inputs, self.outputs], &sums, &mut out, row);
                out
            }
        }
    }
}

#[cfg(test)]
mod tests;
