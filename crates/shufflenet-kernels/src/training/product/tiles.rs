//! Products in tiles of bfloat16: operands are packed in tile order ([`crate::kernels::tiles`]) a block at a time.

use half::bf16;

use super::{BackwardBlock, Destination};
use crate::kernels::rows::Rows;
use crate::kernels::tiles::{
    ByColumns, ByRows, NormGradientTiles, Product, add_product, blocks_len, blocks_to_rows,
    configured, packed_len,
};
use crate::runtime::buffer::Buffer;
use crate::simd::Isa;
use crate::simd::amx::Tiles;
use crate::simd::stored::Stored;

/// See [`super::Forward`].
pub struct Forward<'a> {
    isa: Isa,
    /// Inputs and outputs of the convolution.
    sizes: [usize; 2],
    tiles: Tiles,
    weight: &'a [bf16],
    left: Buffer<bf16>,
}

impl<'a> Forward<'a> {
    pub fn new(isa: Isa, weight: &'a [bf16], rows: usize, sizes: [usize; 2]) -> Self {
        Self {
            isa,
            sizes,
            tiles: configured(),
            weight,
            left: Buffer::any(packed_len(rows, sizes[0])),
        }
    }

    pub fn block<T: Stored>(&mut self, rows: usize, x: Rows<T>, out: &mut [T]) {
        let (isa, [inputs, outputs]) = (self.isa, self.sizes);
        let left = &mut self.left[..packed_len(rows, inputs)];
        isa.run(ByRows {
            rows,
            columns: inputs,
            x,
            transposed: false,
            out: left,
        });
        let product = Product {
            rows,
            inner: inputs,
            columns: outputs,
            left,
            right: self.weight,
            out,
            out_row: outputs,
            accumulate: false,
        };
        product.run(isa, &self.tiles);
    }
}

/// See [`super::Backward`].
pub struct Backward<'a> {
    isa: Isa,
    /// Inputs and outputs of the convolution.
    sizes: [usize; 2],
    tiles: Tiles,
    weight: &'a [bf16],
    /// The gradient of the output, packed by rows and by columns.
    dy: [Buffer<bf16>; 2],
    x: Buffer<bf16>,
    /// The weight's gradient, in blocks.
    sums: Buffer,
}

impl<'a> Backward<'a> {
    pub fn new(isa: Isa, weight: &'a [bf16], rows: usize, sizes: [usize; 2]) -> Self {
        let [inputs, outputs] = sizes;
        Self {
            isa,
            sizes,
            tiles: configured(),
            weight,
            dy: [
                Buffer::any(packed_len(rows, outputs)),
                Buffer::any(packed_len(outputs, rows)),
            ],
            x: Buffer::any(packed_len(inputs, rows)),
            sums: Buffer::zeros(blocks_len(inputs, outputs)),
        }
    }

    pub fn block<T: Stored>(&mut self, from: &BackwardBlock<T>, dx: Destination<T>) {
        let (isa, [inputs, outputs]) = (self.isa, self.sizes);
        let rows = from.rows;
        let [by_rows, by_columns] = &mut self.dy;
        let by_rows = &mut by_rows[..packed_len(rows, outputs)];
        let by_columns = &mut by_columns[..packed_len(outputs, rows)];
        isa.run(NormGradientTiles {
            rows,
            columns: outputs,
            g: from.g,
            y: from.y,
            mean: from.mean,
            factors: from.factors,
            by_rows,
            by_columns,
        });
        let product = Product {
            rows,
            inner: outputs,
            columns: inputs,
            left: by_rows,
            right: self.weight,
            out: dx.data,
            out_row: dx.stride,
            accumulate: dx.accumulate,
        };
        product.run(isa, &self.tiles);
        let left = &mut self.x[..packed_len(inputs, rows)];
        isa.run(ByColumns {
            rows,
            columns: inputs,
            x: from.x,
            transposed: true,
            out: left,
        });
        let sizes = [inputs, rows, outputs];
        add_product(&self.tiles, sizes, [left, by_columns], &mut self.sums);
    }

    pub fn into_weight_gradient(self) -> Buffer {
        let (isa, [inputs, outputs]) = (self.isa, self.sizes);
        let row = isa.padded(outputs);
        let mut out = Buffer::zeros(inputs * row);
        blocks_to_rows(isa, [inputs, outputs], &self.sums, &mut out, row);
        out
    }
}
