//! The two sums that a norm's backward takes over the batch, and what follows from them.
//!
//! A kernel that writes `g`, the gradient of a norm's output, gathers `s = sum(g)` and `t = sum(g (y - mean))` while it
//! writes. [`finish`](GradientSums::finish) makes of them the factors of `dy` (see [`crate::norm`]) and the gradients of
//! gamma and beta. Its launch has few workgroups and is over soon, so it can also add the rows of a [`Product`].

use cubecl::prelude::*;

use crate::arena::Arena;
use crate::buffer::Buffer;
use crate::norm::{A, B, C, MEAN, ROWS, RSTD, SCALE};
use crate::product::{Product, THREADS, add_rows};
use crate::traffic::Launch;
use crate::vector;

/// Channels of a workgroup, and the groups of rows that it adds up side by side.
const CHANNELS: usize = 8;
const GROUPS: usize = THREADS / CHANNELS;

/// Adds the rows of eight channels, and writes what follows.
#[cube]
fn finish_block(
    parts: &[f32],
    norm: &[f32],
    factors: &mut [f32],
    gamma: &mut [f32],
    beta: &mut [f32],
    shared: &mut Shared<[f32]>,
    block: usize,
    rows: usize,
    values: f32,
    row: usize,
    first: usize,
    columns: usize,
) {
    let thread = UNIT_POS as usize;
    let channel = thread % CHANNELS;
    let group = thread / CHANNELS;
    let column = block * CHANNELS + channel;
    let mut s = 0.0f32;
    let mut t = 0.0f32;
    if column < columns {
        let each = rows.div_ceil(GROUPS);
        for i in 0..each {
            let number = group * each + i;
            if number < rows {
                let start = number * row + first + column;
                s += parts[start];
                t += parts[start + columns];
            }
        }
    }
    shared[thread] = s;
    shared[THREADS + thread] = t;
    sync_cube();
    if group == 0 && column < columns {
        let mut s = 0.0f32;
        let mut t = 0.0f32;
        for group in 0..GROUPS {
            let at = group * CHANNELS + channel;
            s += shared[at];
            t += shared[THREADS + at];
        }
        let scale = norm[SCALE * columns + column];
        let rstd = norm[RSTD * columns + column];
        factors[MEAN * columns + column] = norm[MEAN * columns + column];
        factors[A * columns + column] = scale;
        factors[B * columns + column] = -scale * rstd * rstd * t / values;
        factors[C * columns + column] = -scale * s / values;
        gamma[column] = rstd * t;
        beta[column] = s;
    }
}

/// The first workgroups finish the norm, the others add the product's rows.
#[cube(launch_unchecked)]
fn finish_gradient_sums(
    parts: &[f32],
    norm: &[f32],
    factors: &mut [f32],
    gamma: &mut [f32],
    beta: &mut [f32],
    product: &[f32],
    weight: &mut [f32],
    rows: usize,
    values: f32,
    row: usize,
    first: usize,
    columns: usize,
    product_rows: usize,
    product_row: usize,
    product_first: usize,
    product_columns: usize,
    product_channels: usize,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * THREADS));
    let blocks = columns.div_ceil(CHANNELS);
    if CUBE_POS < blocks {
        finish_block(
            parts,
            norm,
            factors,
            gamma,
            beta,
            &mut shared,
            CUBE_POS,
            rows,
            values,
            row,
            first,
            columns,
        );
    } else {
        add_rows(
            product,
            weight,
            &mut shared,
            CUBE_POS - blocks,
            product_rows,
            product_row,
            product_first,
            product_columns,
            product_channels,
        );
    }
}

/// What a convolution with batch norm gives its backward.
pub struct Gradient<'a> {
    /// The gradient of the norm's output, `[pixels, outputs]`.
    pub g: &'a Buffer,
    /// The convolution's output, `[pixels, outputs]`.
    pub y: &'a Buffer,
    /// The norm's factors, [`NormGradient::factors`].
    pub factors: &'a Buffer,
}

/// What the backward gives of a convolution that read its input through a norm.
pub struct Backward {
    /// The gradient of that norm's output, `[input pixels, channels]`.
    pub g: Buffer,
    /// The sums of the norm's backward.
    pub sums: GradientSums,
    /// The gradient of the convolution's weight.
    pub weight: Product,
}

/// Partial sums of a norm's backward: rows of `row` values, in which `s` and `t` of all channels begin at `first`.
pub struct GradientSums {
    pub(crate) parts: Buffer,
    pub(crate) rows: usize,
    pub(crate) row: usize,
    pub(crate) first: usize,
    pub(crate) columns: usize,
}

/// A norm's backward.
pub struct NormGradient {
    /// Mean and factors of `dy = a g + b (y - mean) + c`.
    pub factors: Buffer,
    /// The gradient of gamma.
    pub gamma: Buffer,
    /// The gradient of beta.
    pub beta: Buffer,
}

impl GradientSums {
    /// Adds up the rows. `norm` is the norm's buffer from the forward, of `values` values a channel. The gradients of
    /// parameters are in `arena`.
    pub fn finish(&self, norm: &Buffer, values: usize, arena: &Arena) -> NormGradient {
        self.launch(norm, values, None, arena)
    }

    /// [`finish`](Self::finish), and the sum of the product's rows, in one launch.
    pub fn finish_with(
        &self,
        norm: &Buffer,
        values: usize,
        product: &Product,
        arena: &Arena,
    ) -> (NormGradient, Buffer) {
        let weight = arena.take(product.columns);
        let made = self.launch(norm, values, Some((product, &weight)), arena);
        (made, weight)
    }

    fn launch(
        &self,
        norm: &Buffer,
        values: usize,
        product: Option<(&Product, &Buffer)>,
        arena: &Arena,
    ) -> NormGradient {
        let client = &self.parts.client;
        let factors = Buffer::empty(client, ROWS * self.columns);
        let [gamma, beta] = [0; 2].map(|_| arena.take(self.columns));
        let mut blocks = self.columns.div_ceil(CHANNELS);
        // Without a product no workgroup is left for the second part, and these are not touched.
        let mut buffers = (&self.parts, &beta);
        let mut sizes = [0, 0, 0, 0, 1];
        if let Some((product, weight)) = product {
            blocks += product.blocks();
            buffers = (&product.parts, weight);
            sizes = [
                product.rows,
                product.row,
                product.first,
                product.columns,
                product.channels,
            ];
        }
        let [
            product_rows,
            product_row,
            product_first,
            product_columns,
            product_channels,
        ] = sizes;
        let launch = Launch::of("sums, backward")
            .reads(&self.parts, self.rows * 2 * self.columns)
            .reads(buffers.0, product_rows * product_columns)
            .reads_all([norm])
            .writes_all([&factors, &gamma, &beta])
            .writes(buffers.1, product_columns);
        launch.run(|| {
            // SAFETY: every index is below the length of its buffer, by the comparisons with `rows` and `columns`.
            #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
            unsafe {
                finish_gradient_sums::launch_unchecked(
                    client,
                    vector::workgroups(blocks * THREADS, THREADS as u32),
                    CubeDim::new_1d(THREADS as u32),
                    self.parts.arg(1),
                    norm.arg(1),
                    factors.arg(1),
                    gamma.arg(1),
                    beta.arg(1),
                    buffers.0.arg(1),
                    buffers.1.arg(1),
                    self.rows,
                    values as f32,
                    self.row,
                    self.first,
                    self.columns,
                    product_rows,
                    product_row,
                    product_first,
                    product_columns,
                    product_channels,
                );
            }
        });
        NormGradient {
            factors,
            gamma,
            beta,
        }
    }
}
