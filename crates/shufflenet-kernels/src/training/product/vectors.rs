//! Products in vectors of float32, with one kernel for all of them ([`Matmul`]).

use super::{BackwardBlock, Destination};
use crate::kernels::matmul::Matmul;
use crate::kernels::prefetch::Ahead;
use crate::kernels::rows::{Rows, Widened};
use crate::runtime::buffer::Buffer;
use crate::simd::Isa;
use crate::simd::stored::Stored;

/// See [`super::Forward`].
pub struct Forward<'a> {
    isa: Isa,
    /// Inputs and outputs of the convolution.
    sizes: [usize; 2],
    weight: &'a [f32],
    widened: Widened,
}

impl<'a> Forward<'a> {
    pub fn new<T: Stored>(isa: Isa, weight: &'a [f32], rows: usize, sizes: [usize; 2]) -> Self {
        Self {
            isa,
            sizes,
            weight,
            widened: Widened::new::<T>(isa, rows, sizes[0]),
        }
    }

    pub fn block<T: Stored>(&mut self, rows: usize, x: Rows<T>, out: &mut [T]) {
        let (isa, [inputs, outputs]) = (self.isa, self.sizes);
        let left = self.widened.rows(x, rows);
        isa.run(Matmul {
            rows,
            inner: inputs,
            columns: outputs,
            left: left.data,
            left_strides: [left.stride, 1],
            right: self.weight,
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
    weight: &'a [f32],
    dy: Buffer,
    widened: Widened,
    sums: Buffer,
}

impl<'a> Backward<'a> {
    pub fn new<T: Stored>(isa: Isa, weight: &'a [f32], rows: usize, sizes: [usize; 2]) -> Self {
        let [inputs, outputs] = sizes;
        Self {
            isa,
            sizes,
            weight,
            dy: Buffer::any(rows * isa.padded(outputs)),
            widened: Widened::new::<T>(isa, rows, inputs),
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
            inner: outputs,
            columns: inputs,
            left: &self.dy,
            left_strides: [padded, 1],
            right: self.weight,
            right_row: isa.padded(inputs),
            out: dx.data,
            out_row: dx.stride,
            accumulate: dx.accumulate,
            ahead: [from.g.storage(next.clone()), from.y.storage(next.clone())],
        });
        let left = self.widened.rows(from.x, rows);
        isa.run(Matmul {
            rows: inputs,
            inner: rows,
            columns: outputs,
            left: left.data,
            left_strides: [1, left.stride],
            right: &self.dy,
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
