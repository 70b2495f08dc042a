//! Both units of the network in training, each one node of the autodiff graph.
//!
//! A unit joins two sides ([`crate::training::join`]). A stride-1 unit passes its first channels on and sends the
//! others through a branch ([`crate::training::branch`]). A stride-2 unit sends all channels through two branches.
//! A unit keeps its input, which is the previous unit's output, and the output of each convolution for the
//! backward.

use crate::kernels::rows::Rows;
use crate::runtime::buffer::Buffer;
use crate::simd::stored::Stored;
use crate::training::branch::{Branch, Gradients, Saved};
use crate::training::geometry::Geometry;
use crate::training::join::{self, Side};
use crate::training::join_backward;
use crate::training::product::Destination;

/// A unit with its weights.
pub enum Unit<'a> {
    /// The stride-1 unit, figure 3 (c) of the paper.
    Basic {
        /// Number of channels passed on.
        left: usize,
        /// Whether the right branch's input is added to its output.
        residual: bool,
        /// The branch of the other channels.
        right: Branch<'a>,
    },
    /// The stride-2 unit, figure 3 (d) of the paper.
    Downsample {
        /// The branch without a first 1x1 convolution.
        left: Branch<'a>,
        /// The branch with both.
        right: Branch<'a>,
        /// Whether the right branch comes first in the concatenation.
        right_first: bool,
    },
}

/// What the backward needs of each branch: of the right branch, then of the left branch if there is one.
pub struct UnitSaved<T: Stored>(Vec<Saved<T>>);

impl Unit<'_> {
    /// Computes the output's rows and what the backward needs. `x` has `channels` values per row.
    pub(crate) fn forward<T: Stored>(
        &self,
        at: Geometry,
        x: &[T],
        channels: usize,
        epsilon: f64,
    ) -> (Buffer<T>, UnitSaved<T>) {
        let x = Rows::new(x, channels);
        let saved = match self {
            Self::Basic { left, right, .. } => {
                vec![right.forward(at, behind(x, *left), epsilon)]
            }
            Self::Downsample { left, right, .. } => {
                vec![right.forward(at, x, epsilon), left.forward(at, x, epsilon)]
            }
        };
        let saved = UnitSaved(saved);
        let (sides, _) = self.sides(x, &saved);
        let out = join::forward(at, &sides);
        (out, saved)
    }

    /// Mean and unbiased variance of each batch norm, one after the other: the right branch's three norms,
    /// then the left branch's two, if there is one.
    pub fn statistics<T: Stored>(&self, saved: &UnitSaved<T>) -> Vec<f32> {
        let branches = match self {
            Self::Basic { right, .. } => vec![right],
            Self::Downsample { left, right, .. } => vec![right, left],
        };
        let of_branch = |(branch, saved): (&Branch, &Saved<T>)| branch.statistics(saved);
        branches
            .into_iter()
            .zip(&saved.0)
            .flat_map(of_branch)
            .collect()
    }

    /// The two sides in the order of their concatenation, and for each the column of the input's gradient
    /// that a gradient passed on is written to.
    fn sides<'a, T: Stored>(
        &self,
        x: Rows<'a, T>,
        saved: &'a UnitSaved<T>,
    ) -> ([Side<'a, T>; 2], [usize; 2]) {
        let transformed = |saved: &'a Saved<T>, residual| Side::Transformed {
            last: &saved.pointwise2,
            residual,
        };
        match self {
            Self::Basic { left, residual, .. } => {
                let residual = residual.then(|| behind(x, *left));
                let passed = Side::Passed { x, channels: *left };
                ([passed, transformed(&saved.0[0], residual)], [0, *left])
            }
            Self::Downsample { right_first, .. } => {
                let [right, left] = [0, 1].map(|branch| transformed(&saved.0[branch], None));
                let sides = if *right_first {
                    [right, left]
                } else {
                    [left, right]
                };
                (sides, [0, 0])
            }
        }
    }

    /// Computes the gradients of the input and of the weights from the output's gradient. The right branch's
    /// weights come first, then the left branch's.
    pub(crate) fn backward<T: Stored>(
        &self,
        at: Geometry,
        x: &[T],
        channels: usize,
        saved: &UnitSaved<T>,
        dout: &[T],
    ) -> (Buffer<T>, Gradients) {
        let x = Rows::new(x, channels);
        let mut dx = Buffer::any(x.data.len());
        let (sides, columns) = self.sides(x, saved);
        let [first, second] = &sides;
        let sides = [(first, columns[0]), (second, columns[1])];
        let passes_on = matches!(self, Self::Basic { .. });
        let (into, stride) = if passes_on {
            (&mut dx[..], channels)
        } else {
            (&mut [][..], 1)
        };
        let [first, second] = join_backward::backward(at, sides, dout, into, stride);
        let gradients = match self {
            Self::Basic {
                left,
                residual,
                right,
            } => {
                let mut into = Destination {
                    data: &mut dx[*left..],
                    stride: channels,
                    accumulate: *residual,
                };
                second.map(|g| right.backward(at, behind(x, *left), &saved.0[0], g, &mut into))
            }
            Self::Downsample {
                left,
                right,
                right_first,
            } => {
                let (right_g, left_g) = if *right_first {
                    (first, second)
                } else {
                    (second, first)
                };
                let mut into = Destination {
                    data: &mut dx,
                    stride: channels,
                    accumulate: false,
                };
                // The left branch, without a first convolution, writes `dx`; the right branch adds to it.
                let left = left_g.map(|g| left.backward(at, x, &saved.0[1], g, &mut into));
                into.accumulate = true;
                let right = right_g.map(|g| right.backward(at, x, &saved.0[0], g, &mut into));
                right
                    .zip(left)
                    .map(|(right, left)| right.into_iter().chain(left).collect())
            }
        };
        (dx, gradients.unwrap_or_default())
    }
}

/// The rows from channel `column` on.
fn behind<T: Stored>(x: Rows<T>, column: usize) -> Rows<T> {
    Rows::new(&x.data[column..], x.stride)
}
