//! The 1x1 convolutions of inference, in either of two ways: vectors of float32 ([`super::product`]), or, where activations
//! are bfloat16 and the processor has AMX, tiles of bfloat16 ([`crate::kernels::tiles`]).
//!
//! For tiles the left side is packed as a whole, with the values between those that are read. Their weights are zero, so
//! they must be numbers: passes write whole vectors, and a value that is not finite spreads to all outputs of its pixel. The
//! float32 weights stay beside those in tiles, which read them no more.

use half::bf16;

use super::product::{Place, Product, Weights};
use super::weights::Folded;
use crate::kernels::rows::Rows;
use crate::kernels::tiles::{BLOCK, ByRows, configured, each_block, packed_len};
use crate::precision::Precision;
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::simd::{Isa, Kernel, Simd};

/// A 1x1 convolution with ReLU.
pub(super) struct Pointwise {
    pub weights: Weights,
    tiled: Option<Tiled>,
}

/// Weights in tile order.
struct Tiled {
    packed: Buffer<bf16>,
    /// Values of a row of the left side.
    inner: usize,
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
        let in_tiles = isa == Isa::Amx && precision == Precision::Bf16;
        Self {
            weights: Weights::new(isa, layer, places),
            tiled: in_tiles.then(|| Tiled::new(isa, layer, packed, inner)),
        }
    }

    /// Whether products are in tiles.
    pub fn in_tiles(&self) -> bool {
        self.tiled.is_some()
    }

    /// Computes `rows` rows from row `first` of `place` on. `left` has the values at `terms`, and `out` starts at
    /// position `out_start` of `place`.
    pub fn run<T: Stored>(
        &self,
        isa: Isa,
        rows: usize,
        (left, terms): (Rows<f32>, &[u32]),
        (out, out_start): (&mut [T], usize),
        (place, first): (Place, usize),
    ) {
        let weights = &self.weights;
        let Some(tiled) = &self.tiled else {
            isa.run(Product {
                rows,
                left: left.data,
                left_row: left.stride,
                terms,
                weights,
                panels: weights.all(),
                relu: true,
                out,
                out_start,
                place,
                first,
            });
            return;
        };
        let inner = tiled.inner;
        let mut packed = Buffer::any(packed_len(rows, inner));
        isa.run(ByRows {
            rows,
            columns: inner,
            x: left,
            transposed: false,
            out: &mut packed,
        });
        let (tiles, sizes) = (configured(), [rows, inner, weights.padded()]);
        each_block(
            &tiles,
            sizes,
            [&packed, &tiled.packed],
            |row, column, sums| {
                isa.run(Finish {
                    rows: BLOCK.min(rows - row),
                    columns: BLOCK.min(weights.padded() - column),
                    sums,
                    bias: &weights.bias()[column..],
                    out,
                    out_start,
                    place,
                    first: first + row,
                    column,
                });
            },
        );
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
