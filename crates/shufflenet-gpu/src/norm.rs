//! Batch norm in training (Ioffe and Szegedy, 2015), in the terms that kernels read.
//!
//! ```text
//! norm(y) = scale (y - mean) + beta,    scale = gamma / sqrt(variance + epsilon)
//! ```
//!
//! with the batch's mean and biased variance. With `g` the gradient of `norm(y)`, `n` the values of a channel, and
//! `r = 1 / sqrt(variance + epsilon)`:
//!
//! ```text
//! dbeta = sum(g),    dgamma = r sum(g (y - mean))
//! dy = scale (g - dbeta / n - r (y - mean) dgamma / n) = a g + b (y - mean) + c
//! ```

use cubecl::prelude::*;

use crate::vector::{V4, load, relu};

/// Rows of the buffer of a batch norm's factors.
pub(crate) const MEAN: usize = 0;
pub(crate) const SCALE: usize = 1;
pub(crate) const BETA: usize = 2;
pub(crate) const RSTD: usize = 3;
pub(crate) const ROWS: usize = 4;

/// Rows of the buffer of a norm's backward: the mean once more, and the three factors.
pub(crate) const A: usize = 1;
pub(crate) const B: usize = 2;
pub(crate) const C: usize = 3;

/// What a kernel applies to the values it reads.
#[derive_cube_comptime]
pub enum Reading {
    /// The values themselves.
    Plain,
    /// Batch norm.
    Norm,
    /// Batch norm and ReLU.
    NormRelu,
}

/// `y`, read as `reading` says. `norm` has [`ROWS`] rows of `columns` values.
#[cube]
pub(crate) fn read<N: Size>(
    y: V4,
    norm: &[Vector<f32, N>],
    column: usize,
    valid: usize,
    columns: usize,
    #[comptime] reading: Reading,
) -> V4 {
    match reading {
        Reading::Plain => y,
        Reading::Norm => normed::<N>(y, norm, column, valid, columns),
        Reading::NormRelu => relu(normed::<N>(y, norm, column, valid, columns)),
    }
}

/// `norm(y)`
#[cube]
pub(crate) fn normed<N: Size>(
    y: V4,
    norm: &[Vector<f32, N>],
    column: usize,
    valid: usize,
    columns: usize,
) -> V4 {
    let mean = load::<N>(norm, MEAN * columns + column, valid);
    let scale = load::<N>(norm, SCALE * columns + column, valid);
    let beta = load::<N>(norm, BETA * columns + column, valid);
    fma(y - mean, scale, beta)
}

/// `dy = a g + b (y - mean) + c`. `factors` has [`ROWS`] rows of `columns` values.
#[cube]
pub(crate) fn gradient<N: Size>(
    g: V4,
    y: V4,
    factors: &[Vector<f32, N>],
    column: usize,
    valid: usize,
    columns: usize,
) -> V4 {
    let mean = load::<N>(factors, MEAN * columns + column, valid);
    let a = load::<N>(factors, A * columns + column, valid);
    let b = load::<N>(factors, B * columns + column, valid);
    let c = load::<N>(factors, C * columns + column, valid);
    fma(a, g, fma(b, y - mean, c))
}

/// The [`ROWS`] rows of a norm, or of its backward, at four channels: for a kernel that stays with them.
#[cube]
pub(crate) fn rows<N: Size>(
    norm: &[Vector<f32, N>],
    column: usize,
    valid: usize,
    columns: usize,
    #[comptime] reading: Reading,
) -> Array<V4> {
    let mut rows = Array::<V4>::new(ROWS);
    if comptime!(reading != Reading::Plain) {
        #[unroll]
        for row in 0..ROWS {
            rows[row] = load::<N>(norm, row * columns + column, valid);
        }
    }
    rows
}

/// [`read`] by [`rows`].
#[cube]
pub(crate) fn read_by(y: V4, rows: &Array<V4>, #[comptime] reading: Reading) -> V4 {
    match reading {
        Reading::Plain => y,
        Reading::Norm => fma(y - rows[MEAN], rows[SCALE], rows[BETA]),
        Reading::NormRelu => relu(fma(y - rows[MEAN], rows[SCALE], rows[BETA])),
    }
}

/// [`gradient`] by [`rows`].
#[cube]
pub(crate) fn gradient_by(g: V4, y: V4, rows: &Array<V4>) -> V4 {
    fma(rows[A], g, fma(rows[B], y - rows[MEAN], rows[C]))
}
