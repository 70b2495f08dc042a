//! Tests of kernels between bfloat16 values against the same kernels between float32 values. Float32 results must have the
//! same bits, and stored results must be the float32 results rounded once to the nearest. Other tests compare the float32
//! kernels with float64.

use half::bf16;

use super::map::MapShape;
use super::rows::Rows;
use crate::simd::Isa;
use crate::simd::stored::Stored;

mod maps;
mod product;
mod rows;
mod shuffle;

/// Height and width of an image.
const SIZE: [usize; 2] = [7, 5];
/// Number of pixels of the image.
const ROWS: usize = SIZE[0] * SIZE[1];

/// Arguments of a kernel. All slices are longer than it needs.
struct Arguments<'a, T> {
    isa: Isa,
    columns: usize,
    stride: usize,
    /// Stored values to read.
    x: [&'a [T]; 3],
    /// Float32 values to read.
    f: [&'a [f32]; 4],
    /// Stored values to write.
    out: [&'a mut [T]; 2],
    /// Float32 values to write.
    floats: [&'a mut [f32]; 2],
}

impl<'a, T: Stored> Arguments<'a, T> {
    fn rows(&self) -> [Rows<'a, T>; 3] {
        self.x.map(|x| Rows::new(x, self.stride))
    }

    /// The map of an image, with `before` zeros before it and one after it.
    fn map(&self, before: usize, stride: usize) -> MapShape {
        let [height, width] = SIZE.map(|size| size.div_ceil(stride));
        MapShape {
            height,
            width,
            channels: self.isa.padded(self.columns),
            before,
            after: 1,
        }
    }
}

/// Numbers with a mean near 0, of which a tenth are zero.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| match (i * 31 + seed) % 10 {
        0 => 0.0,
        _ => ((i * 7919 + seed * 104_729) % 10_007) as f32 / 5_003.5 - 1.0,
    };
    (0..count).map(number).collect()
}

/// Runs a kernel on bfloat16 values and on the same values in float32.
fn check(narrow: fn(Arguments<bf16>), wide: fn(Arguments<f32>)) {
    for isa in Isa::available() {
        for columns in [1, 2, 7, 8, 13, 16, 24, 31, 58] {
            let stride = 2 * columns + 3;
            let count = (ROWS + 1) * isa.padded(stride) + 9 * isa.padded(columns) * ROWS;
            let stored = |seed| -> Vec<bf16> {
                let numbers = numbers(count, seed).into_iter();
                numbers.map(bf16::from_f32).collect()
            };
            let x = [0, 1, 2].map(stored);
            let widened = x.each_ref().map(|x| wide_of(x));
            let f = [3, 4, 5, 6].map(|seed| numbers(count, seed));
            let f = f.each_ref().map(|f| &f[..]);
            let mut out = [7, 8].map(stored);
            let mut wide_out = out.each_ref().map(|out| wide_of(out));
            let mut floats = [9, 10].map(|seed| numbers(count, seed));
            let mut wide_floats = floats.clone();
            narrow(Arguments {
                isa,
                columns,
                stride,
                x: x.each_ref().map(|x| &x[..]),
                f,
                out: out.each_mut().map(|out| &mut out[..]),
                floats: floats.each_mut().map(|floats| &mut floats[..]),
            });
            wide(Arguments {
                isa,
                columns,
                stride,
                x: widened.each_ref().map(|x| &x[..]),
                f,
                out: wide_out.each_mut().map(|out| &mut out[..]),
                floats: wide_floats.each_mut().map(|floats| &mut floats[..]),
            });
            assert!(floats == wide_floats, "{isa:?}, {columns} columns");
            for (out, wide) in out.iter().zip(wide_out) {
                let wide = wide.into_iter().map(bf16::from_f32);
                let same = |(a, b): (&bf16, bf16)| a.to_bits() == b.to_bits();
                assert!(out.iter().zip(wide).all(same), "{isa:?}, {columns} columns");
            }
        }
    }
}

fn wide_of(x: &[bf16]) -> Vec<f32> {
    x.iter().map(|x| x.widened()).collect()
}
