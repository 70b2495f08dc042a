//! Both gradients of the 1x1 convolution, in one launch.
//!
//! ```text
//! dx = dy W    (pointwise_gradient.rs),    dW = dy' reading(x)    (weight_gradient.rs)
//! ```
//!
//! Both read the same maps, and neither waits for the other. A workgroup computes one of them: the first rows of the launch
//! compute `dx`, a row for each block of its columns, and the others `dW`, a row for each of its blocks.

use cubecl::prelude::*;

use crate::buffer::Buffer;
use crate::gradient_sums::{Backward, Gradient, GradientSums};
use crate::norm::Reading;
use crate::parts::Parts;
use crate::pointwise::Columns;
use crate::pointwise_gradient::{self, SUMS, Writing, input_gradient};
use crate::product::Product;
use crate::tile::Tile;
use crate::vector::{self, V4};
use crate::weight_gradient::{self, weight_products};

#[derive_cube_comptime]
struct Shape {
    input: pointwise_gradient::Shape,
    weight: weight_gradient::Shape,
}

impl Shape {
    fn units(&self) -> usize {
        self.input.tile.units().max(self.weight.units())
    }

    /// Vectors of shared memory.
    fn shared(&self) -> usize {
        self.input.tile.shared().max(self.weight.shared())
    }
}

#[cube(launch_unchecked)]
fn kernel<N: Size, M: Size>(
    g: &[Vector<f32, N>],
    y: &[Vector<f32, N>],
    factors: &[Vector<f32, N>],
    weight: &[f32],
    x: &[Vector<f32, M>],
    norm: &[Vector<f32, M>],
    dx: &mut [Vector<f32, M>],
    parts: &mut [Vector<f32, M>],
    pixels: usize,
    input_rows: usize,
    input_tiles: usize,
    weight_rows: usize,
    weight_tiles: usize,
    first_product: usize,
    #[comptime] shape: Shape,
) {
    let mut shared = Shared::<[V4]>::new_slice(comptime!(shape.shared()));
    let units = comptime!(shape.units());
    let input_blocks = comptime!(shape.input.tile.blocks);
    let block = CUBE_POS_Y as usize;
    let row = CUBE_POS_X as usize;
    // The conditions are those of a whole workgroup, so its units meet at the barriers inside.
    if block < input_blocks {
        if row < input_rows {
            input_gradient::<N, M>(
                g,
                y,
                factors,
                weight,
                x,
                norm,
                dx,
                parts,
                &mut shared,
                block,
                pixels,
                input_tiles,
                comptime!(shape.input),
                units,
            );
        }
    } else if row < weight_rows {
        weight_products::<N, M>(
            g,
            y,
            factors,
            x,
            norm,
            parts,
            &mut shared,
            block - input_blocks,
            pixels,
            weight_tiles,
            first_product,
            comptime!(shape.weight),
            units,
        );
    }
}

/// The gradients of a convolution that read its input through a norm. `x` is what the norm read, `[pixels, inputs]`.
/// `weight` is `[outputs, inputs]`.
pub fn through_norm(
    gradient: &Gradient,
    pixels: usize,
    weight: &Buffer,
    x: &Buffer,
    (norm, reading): (&Buffer, Reading),
) -> Backward {
    let writing = match reading {
        Reading::NormRelu => Writing::NormRelu,
        Reading::Norm | Reading::Plain => Writing::Norm,
    };
    let inputs = x.len / pixels;
    let [x, g] = [x.clone(), Buffer::empty(&x.client, x.len)].map(|data| Columns {
        data,
        row: inputs,
        first: 0,
    });
    let read = (norm, reading);
    let (parts, rows, product) = launch(gradient, pixels, weight, &x, read, &g, writing);
    let sums = GradientSums {
        parts,
        rows,
        row: SUMS * inputs,
        first: 0,
        columns: inputs,
    };
    Backward {
        g: g.data,
        sums,
        weight: product,
    }
}

/// The gradients of a convolution that read its input as it is, that is the channels from the first of `x` on. The gradient
/// of the input is written to as many channels of `dx`, or added to what is there; that of the weight is returned. `weight`
/// is `[outputs, inputs]`.
pub fn into_map(
    gradient: &Gradient,
    pixels: usize,
    weight: &Buffer,
    x: &Columns,
    dx: &Columns,
    add: bool,
) -> Product {
    let writing = if add { Writing::Add } else { Writing::Store };
    // No norm is read.
    let read = (gradient.factors, Reading::Plain);
    let (_, _, product) = launch(gradient, pixels, weight, x, read, dx, writing);
    product
}

/// The partial sums: those of the norm with their number of rows, and the product.
fn launch(
    gradient: &Gradient,
    pixels: usize,
    weight: &Buffer,
    x: &Columns,
    (norm, reading): (&Buffer, Reading),
    to: &Columns,
    writing: Writing,
) -> (Buffer, usize, Product) {
    let client = &weight.client;
    let outputs = gradient.y.len / pixels;
    let inputs = weight.len / outputs;
    let shape = Shape {
        input: pointwise_gradient::Shape {
            tile: Tile::new(outputs, inputs),
            row: to.row,
            first: to.first,
            writing,
        },
        weight: weight_gradient::Shape::new(outputs, inputs, x.row, x.first, reading),
    };
    let tile = shape.input.tile;
    let of_input = Parts::of(pixels.div_ceil(tile.pixels()));
    let of_weight = shape.weight.share(pixels);
    // The norm's sums come first in `parts`, if there are some, and the products behind them.
    let sums = match shape.input.through_norm() {
        true => of_input.rows * SUMS * inputs,
        false => 0,
    };
    let first_product = sums.next_multiple_of(4);
    let values = shape.weight.values();
    let parts = Buffer::empty(client, first_product + of_weight.rows * values);
    let n = vector::width(&[outputs]);
    let m = vector::width(&[inputs, x.row, x.first, to.row, to.first]);
    let rows = of_input.rows.max(of_weight.rows);
    let blocks = tile.blocks + shape.weight.blocks();
    // SAFETY: pixels are compared with `pixels`, and channels with the widths, before each access.
    #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
    unsafe {
        kernel::launch_unchecked(
            client,
            CubeCount::Static(rows as u32, blocks as u32, 1),
            CubeDim::new_1d(shape.units() as u32),
            n,
            m,
            gradient.g.arg(n),
            gradient.y.arg(n),
            gradient.factors.arg(n),
            weight.arg(1),
            x.data.arg(m),
            norm.arg(m),
            to.data.arg(m),
            parts.arg(m),
            pixels,
            of_input.rows,
            of_input.tiles,
            of_weight.rows,
            of_weight.tiles,
            first_product,
            shape,
        );
    }
    let product = Product {
        parts: parts.clone(),
        rows: of_weight.rows,
        row: values,
        first: first_product,
        columns: values,
        channels: 1,
    };
    (parts, of_input.rows, product)
}
