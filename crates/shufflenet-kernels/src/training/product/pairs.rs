//! Products in vectors of pairs of bfloat16: the kernel of the float32 products ([`Matmul`]) with another operand. Right
//! sides, and the left side of the weight's gradient, are packed as row pairs ([`crate::kernels::pairs`]).

use half::bf16;

use super::{BackwardBlock, Destination};
use crate::kernels::matmul::Matmul;
use crate::kernels::pairs::{PairedRows, RowPairs, pairs, row_pairs_len};
use crate::kernels::prefetch::Ahead;
use crate::kernels::rows::Rows;
use crate::runtime::buffer::Buffer;
use crate::simd::Isa;
use crate::simd::stored::Stored;

/// See [`super::Forward`].
pub struct Forward<'a> {
    isa: Isa,
    /// Inputs and outputs of the convolution.
    sizes: [usize; 2],
    weight: &'a [bf16],
    paired: PairedRows,
}

impl<'a> Forward<'a> {
    pub fn new(isa: Isa, weight: &'a [bf16], sizes: [usize; 2]) -> Self {
        Self {
            isa,
            sizes,
            weight,
            paired: PairedRows::new(isa, sizes[0]),
        }
    }

    pub fn block<T: Stored>(&mut self, rows: usize, x: Rows<T>, out: &mut [T]) {
        let (isa, [inputs, outputs]) = (self.isa, self.sizes);
        let (left, stride) = self.paired.read(x, rows);
        isa.run(Matmul {
            rows,
            inner: inputs.div_ceil(2),
            columns: outputs,
            left,
            left_strides: [stride, 1],
            right: pairs(self.weight),
            right_row: isa.padded(outputs),
            out,
            out_row: outputs,
            accumulate: false,
            ahead: [x.storage(rows..2 * rows), Ahead::default()],
        });
    }
}

/// See [`super::Backward`].
pub struct Backward<'a> {
    isa: Isa,
    /// Inputs and outputs of the convolution.
    sizes: [usize; 2],
    weight: &'a [bf16],
    dy: Buffer<bf16>,
    /// Row pairs of `dy` and of the input.
    row_pairs: [Buffer<bf16>; 2],
    sums: Buffer,
}

impl<'a> Backward<'a> {
    pub fn new(isa: Isa, weight: &'a [bf16], rows: usize, sizes: [usize; 2]) -> Self {
        let [inputs, outputs] = sizes;
        Self {
            isa,
            sizes,
            weight,
            dy: Buffer::any(rows * isa.padded(outputs)),
            row_pairs: [outputs, inputs]
                .map(|columns| Buffer::any(row_pairs_len(isa, rows, columns))),
            sums: Buffer::zeros(inputs * isa.padded(outputs)),
        }
    }

    pub fn block<T: Stored>(&mut self, from: &BackwardBlock<T>, dx: Destination<T>) {
        let (isa, [inputs, outputs]) = (self.isa, self.sizes);
        let (rows, padded) = (from.rows, isa.padded(outputs));
        let next = rows..2 * rows;
        from.output_gradient(isa, outputs, &mut self.dy);
        isa.run(Matmul {
            rows,
            inner: outputs.div_ceil(2),
            columns: inputs,
            left: pairs(&self.dy),
            left_strides: [padded / 2, 1],
            right: pairs(self.weight),
            right_row: isa.padded(inputs),
            out: dx.data,
            out_row: dx.stride,
            accumulate: dx.accumulate,
            ahead: [from.g.storage(next.clone()), from.y.storage(next.clone())],
        });
        let [dy_pairs, x_pairs] = &mut self.row_pairs;
        let dy_pairs = &mut dy_pairs[..row_pairs_len(isa, rows, outputs)];
        isa.run(RowPairs {
            rows,
            columns: outputs,
            x: Rows::new(&self.dy, padded),
            out: dy_pairs,
        });
        let x_pairs = &mut x_pairs[..row_pairs_len(isa, rows, inputs)];
        isa.run(RowPairs {
            rows,
            columns: inputs,
            x: from.x,
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
            out: &mut self.sums,
            out_row: padded,
            accumulate: true,
            ahead: [from.x.storage(next), Ahead::default()],
        });
    }

    pub fn into_weight_gradient(self) -> Buffer {
        self.sums
    }
}
