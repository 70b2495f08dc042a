//! The weights of a 1x1 convolution, packed for the products of [`crate::training::product`]: in every step, because they
//! are few and change each time.

use half::bf16;

use crate::kernels::matmul::block_rows;
use crate::kernels::packing::{self, ConvNorm};
use crate::kernels::pairs::{RowPairs, row_pairs_len};
use crate::kernels::rows::Rows;
use crate::kernels::tiles::{ByColumns, ByRows, packed_len};
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Products};

/// Rows of a block whose products are in tiles: whole tiles, and the block's operands fit the second-level cache.
const TILED_ROWS: usize = 256;

/// Weights of a 1x1 convolution as the right side of a product.
pub enum Weights {
    /// Rows of float32, padded to whole vectors.
    Vectors(Buffer),
    /// Row pairs of bfloat16, of rows padded to whole vectors.
    Pairs(Buffer<bf16>),
    /// bfloat16 in tile order.
    Tiles(Buffer<bf16>),
}

/// What products of values that are stored as `T` multiply.
fn products<T: Stored>(isa: Isa) -> Products {
    match T::as_bf16(&[]) {
        Some(_) => isa.bf16_products(),
        None => Products::Widened,
    }
}

impl Weights {
    /// Packs a convolution's weights for its forward. Input `k` is multiplied by `scale[k]` if `scale` is given.
    pub fn forward<T: Stored>(isa: Isa, conv: ConvNorm, scale: Option<&[f32]>) -> Self {
        let (inputs, outputs) = (conv.inputs(), conv.outputs());
        let transposed = || packing::transposed(isa, conv.weight, inputs, scale);
        match (products::<T>(isa), scale) {
            (Products::Widened, _) => Self::Vectors(transposed()),
            (Products::Pairs, _) => {
                let weight = transposed();
                let weight = Rows::new(&weight[..], isa.padded(outputs));
                Self::row_pairs(isa, weight, [inputs, outputs])
            }
            (Products::Tiles, None) => Self::tiles_of_rows(isa, conv.weight, inputs),
            (Products::Tiles, Some(scale)) => {
                let mut scaled = Buffer::any(conv.weight.len());
                scaled.copy_from_slice(conv.weight);
                packing::scale_columns(&mut scaled, scale, inputs);
                Self::tiles_of_rows(isa, &scaled, inputs)
            }
        }
    }

    fn row_pairs(isa: Isa, x: Rows, [rows, columns]: [usize; 2]) -> Self {
        let mut packed = Buffer::any(row_pairs_len(isa, rows, columns));
        isa.run(RowPairs {
            rows,
            columns,
            x,
            out: &mut packed,
        });
        Self::Pairs(packed)
    }

    fn tiles_of_rows(isa: Isa, weight: &[f32], inputs: usize) -> Self {
        let outputs = weight.len() / inputs;
        let mut packed = Buffer::any(packed_len(outputs, inputs));
        isa.run(ByRows {
            rows: outputs,
            columns: inputs,
            x: Rows::new(weight, inputs),
            transposed: true,
            out: &mut packed,
        });
        Self::Tiles(packed)
    }

    /// Packs a convolution's weights for the gradient of its input.
    pub fn input_gradient<T: Stored>(isa: Isa, conv: ConvNorm) -> Self {
        let (inputs, outputs) = (conv.inputs(), conv.outputs());
        let weight = Rows::new(conv.weight, inputs);
        match products::<T>(isa) {
            Products::Widened => Self::Vectors(packing::padded(isa, conv.weight, inputs)),
            Products::Pairs => Self::row_pairs(isa, weight, [outputs, inputs]),
            Products::Tiles => {
                let mut packed = Buffer::any(packed_len(inputs, outputs));
                isa.run(ByColumns {
                    rows: outputs,
                    columns: inputs,
                    x: weight,
                    transposed: false,
                    out: &mut packed,
                });
                Self::Tiles(packed)
            }
        }
    }

    /// A weight as the products read it.
    pub fn as_read(&self, weight: f32) -> f32 {
        match self {
            Self::Vectors(_) => weight,
            Self::Pairs(_) | Self::Tiles(_) => bf16::from_f32(weight).widened(),
        }
    }

    /// Rows of a block for a convolution of this number of inputs and outputs.
    pub fn block_rows(&self, inputs: usize, outputs: usize) -> usize {
        match self {
            Self::Vectors(_) | Self::Pairs(_) => block_rows(inputs, outputs),
            Self::Tiles(_) => TILED_ROWS,
        }
    }
}
