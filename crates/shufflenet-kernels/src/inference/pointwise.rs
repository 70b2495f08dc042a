//! The 1x1 convolutions of inference, in one of three ways: vectors of float32 ([`super::product`]), or, where activations
//! are bfloat16, the same in pairs of bfloat16 on processors with AVX512-BF16, and tiles of bfloat16
//! ([`crate::kernels::tiles`]) on processors with AMX.
//!
//! In pairs and tiles, values between those that are read are multiplied by weights of zero. So they must be numbers:
//! passes write whole vectors, and a value that is not finite spreads to all outputs of its pixel. The float32 weights
//! stay beside the others, which do not read them.

use std::ops::Range;

use half::bf16;

use super::folded::Folded;
use super::place::Place;
use super::product::Product;
use super::reading::{Left, Reading};
use super::weights::Weights;
use crate::kernels::operand::Pair;
use crate::kernels::pairs::pairs;
use crate::kernels::rows::Rows;
use crate::kernels::tiles::{BLOCK, ByRows, configured, each_block, packed_len};
use crate::precision::Precision;
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Products, Simd};

/// A 1x1 convolution with ReLU.
pub(super) struct Pointwise {
    pub weights: Weights,
    way: Way,
}

enum Way {
    Vectors,
    Pairs(Weights<Pair>),
    Tiles(Tiled),
}

/// Weights in tile order.
struct Tiled {
    packed: Buffer<bf16>,
    /// Values of a row of the left side.
    inner: usize,
}

/// What 1x1 convolutions multiply where activations are stored in `precision`.
fn products(isa: Isa, precision: Precision) -> Products {
    match precision {
        Precision::F32 => Products::Widened,
        Precision::Bf16 => isa.bf16_products(),
    }
}

impl Pointwise {
    /// Packs `layer`, whose input `k` is at `places[k]` of a row. Where products are in tiles, it is at `packed[k]` of
    /// a row of `inner` values.
    pub fn new(
        isa: Isa,
        precision: Precision,
        layer: &Folded,
        places: &[usize],
        (packed, inner): (&[usize], usize),
    ) -> Self {
        Self {
            weights: Weights::new(isa, layer, places),
            way: match products(isa, precision) {
                Products::Widened => Way::Vectors,
                Products::Pairs => Way::Pairs(Weights::new(isa, layer, places)),
                Products::Tiles => Way::Tiles(Tiled::new(isa, layer, packed, inner)),
            },
        }
    }

    /// What the product multiplies.
    pub fn products(&self) -> Products {
        match self.way {
            Way::Vectors => Products::Widened,
            Way::Pairs(_) => Products::Pairs,
            Way::Tiles(_) => Products::Tiles,
        }
    }

    /// Computes the columns of `panels` (all of them where products are in tiles) of `rows` rows, from row `first` of
    /// `place` on. `out` starts at position `out_start` of `place`.
    pub fn run<T: Stored>(
        &self,
        isa: Isa,
        rows: usize,
        left: Left,
        panels: Range<usize>,
        (out, out_start): (&mut [T], usize),
        (place, first): (Place, usize),
    ) {
        let weights = &self.weights;
        match (&self.way, left) {
            (Way::Vectors, Left::Float32(left, terms)) => isa.run(Product {
                rows,
                left: left.data,
                left_row: left.stride,
                terms,
                weights,
                panels,
                relu: true,
                out,
                out_start,
                place,
                first,
            }),
            (Way::Pairs(weights), Left::Bf16(left)) => isa.run(Product {
                rows,
                left: pairs(left.data),
                left_row: left.stride / 2,
                terms: &weights.terms,
                weights,
                panels,
                relu: true,
                out,
                out_start,
                place,
                first,
            }),
            (Way::Tiles(tiled), Left::Float32(left, _)) => {
                assert_eq!(panels, weights.all());
                let packed = tiled.pack(isa, left, rows);
                let (tiles, sizes) = (configured(), [rows, tiled.inner, weights.padded()]);
                let finish = |row, column, sums: &[f32]| {
                    isa.run(Finish {
                        rows: BLOCK.min(rows - row),
                        columns: BLOCK.min(weights.padded() - column),
                        sums,
                        bias: &weights.bias[column..],
                        out,
                        out_start,
                        place,
                        first: first + row,
                        column,
                    });
                };
                each_block(&tiles, sizes, [&packed, &tiled.packed], finish);
            }
            _ => unreachable!("whoever reads the left side asks for the product's operands"),
        }
    }
}

impl Tiled {
    fn new(isa: Isa, layer: &Folded, places: &[usize], inner: usize) -> Self {
        let (inputs, outputs) = (layer.inputs(), isa.padded(layer.outputs()));
        let mut weight = Buffer::<f32>::zeros(outputs * inner);
        let rows = weight.chunks_exact_mut(inner);
        for (row, values) in rows.zip(layer.weight.chunks_exact(inputs)) {
            for (value, place) in values.iter().zip(places) {
                row[*place] = *value;
            }
        }
        let mut packed = Buffer::any(packed_len(outputs, inner));
        isa.run(ByRows {
            rows: outputs,
            columns: inner,
            x: Rows::new(&weight, inner),
            transposed: true,
            out: &mut packed,
        });
        Self { packed, inner }
    }

    /// The left side in tile order, as a whole.
    fn pack(&self, isa: Isa, x: Rows, rows: usize) -> Buffer<bf16> {
        let mut packed = Buffer::any(packed_len(rows, self.inner));
        isa.run(ByRows {
            rows,
            columns: self.inner,
            x,
            transposed: false,
            out: &mut packed,
        });
        packed
    }
}

/// A 1x1 convolution of the columns `read`, and how these are read.
pub(super) fn reading(
    isa: Isa,
    precision: Precision,
    layer: &Folded,
    read: &[usize],
) -> (Reading, Pointwise) {
    let mut columns: Vec<u32> = read.iter().map(|&column| column as u32).collect();
    columns.sort_unstable();
    let pairs = products(isa, precision) == Products::Pairs;
    let reading = Reading::new(isa, &columns, pairs);
    let place = |&column: &usize| {
        let number = columns.partition_point(|&before| before < column as u32);
        reading.places()[number] as usize
    };
    let packed: Vec<usize> = read.iter().map(place).collect();
    let packed = (&packed[..], reading.width(isa));
    let pointwise = Pointwise::new(isa, precision, layer, read, packed);
    (reading, pointwise)
}

/// Adds the bias to a block of sums, applies the ReLU, and stores whole vectors.
struct Finish<'a, T> {
    rows: usize,
    columns: usize,
    sums: &'a [f32],
    bias: &'a [f32],
    out: &'a mut [T],
    out_start: usize,
    place: Place,
    /// The block's first row of `place`, and its first column.
    first: usize,
    column: usize,
}

impl<T: Stored> Kernel for Finish<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, columns, .. } = self;
        assert!((1..=BLOCK).contains(&rows) && columns <= BLOCK);
        assert!(columns.is_multiple_of(S::LANES) && self.bias.len() >= columns);
        assert!(self.sums.len() >= rows * BLOCK);
        assert!(self.place.at(self.first) >= self.out_start);
        let end = self.place.at(self.first + rows - 1) + self.column + columns;
        assert!(end - self.out_start <= self.out.len());
        let mut places = self.place.from(self.first);
        for row in 0..rows {
            let at = places.step() - self.out_start + self.column;
            for column in (0..columns).step_by(S::LANES) {
                // SAFETY: positions grow with the row, so all are before the end of the last one, which was asserted, as
                // the lengths of the sums and the bias were.
                unsafe {
                    let bias = s.load(self.bias.as_ptr().add(column));
                    let sum = s.load(self.sums.as_ptr().add(row * BLOCK + column));
                    // With this order of arguments NaN stays NaN.
                    let y = s.max(s.splat(0.0), s.add(sum, bias));
                    T::store_first(s, self.out.as_mut_ptr().add(at + column), S::LANES, y);
                }
            }
        }
    }
}
