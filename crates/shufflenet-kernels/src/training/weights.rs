//! The weights of a 1x1 convolution, packed for the products of [`crate::training::product`]: in every step, because they
//! are few and change each time.

use half::bf16;

use crate::kernels::matmul::block_rows;
use crate::kernels::packing::{self, ConvNorm};
use crate::kernels::rows::Rows;
use crate::kernels::tiles::{ByColumns, ByRows, packed_len};
use crate::runtime::buffer::Buffer;
use crate::simd::Isa;
use crate::simd::stored::Stored;

/// Rows of a block whose products are in tiles: whole tiles, and the block's operands fit the second-level cache.
const TILED_ROWS: usize = 256;

/// Weights of a 1x1 convolution as the right side of a product.
pub enum Weights {
    /// Rows of float32, padded to whole vectors.
    Vectors(Buffer),
    /// bfloat16 in tile order.
    Tiles(Buffer<bf16>),
}

/// Whether products of values that are stored as `T` are in tiles.
fn in_tiles<T: Stored>(isa: Isa) -> bool {
    isa == Isa::Amx && T::as_float32(&[]).is_none()
}

impl Weights {
    /// Packs a convolution's weights for its forward. Input `k` is multiplied by `scale[k]` if `scale` is given.
    pub fn forward<T: Stored>(isa: Isa, conv: ConvNorm, scale: Option<&[f32]>) -> Self {
        let inputs = conv.inputs();
        if !in_tiles::<T>(isa) {
            return Self::Vectors(packing::transposed(isa, conv.weight, inputs, scale));
        }
        let Some(scale) = scale else {
            return Self::tiles_of_rows(isa, conv.weight, inputs);
        };
        let mut scaled = Buffer::any(conv.weight.len());
        scaled.copy_from_slice(conv.weight);
        packing::scale_columns(&mut scaled, scale, inputs);
        Self::tiles_of_rows(isa, &scaled, inputs)
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
        if !in_tiles::<T>(isa) {
            return Self::Vectors(packing::padded(isa, conv.weight, inputs));
        }
        let mut packed = Buffer::any(packed_len(inputs, outputs));
        isa.run(ByColumns {
            rows: outputs,
            columns: inputs,
            x: Rows::new(conv.weight, inputs),
            transposed: false,
            out: &mut packed,
        });
        Self::Tiles(packed)
    }

    /// A weight as the products read it.
    pub fn as_read(&self, weight: f32) -> f32 {
        match self {
            Self::Vectors(_) => weight,
            Self::Tiles(_) => bf16::from_f32(weight).widened(),
        }
    }

    /// Rows of a block for a convolution with so many inputs and outputs.
    pub fn block_rows(&self, inputs: usize, outputs: usize) -> usize {
        match self {
            Self::Vectors(_) => block_rows(inputs, outputs),
            Self::Tiles(_) => TILED_ROWS,
        }
    }
}
