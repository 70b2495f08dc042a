//! Both units of the network in training, each one node of the autodiff graph.
//!
//! A unit is two sides joined ([`super::join`]): a stride-1 unit passes its first channels on and
//! sends the others through a branch, a stride-2 unit sends all of them through two
//! ([`super::branch`]). What is kept for the backward is the input, which the unit before it owns
//! anyway, and each convolution's output.

use super::branch::{Branch, Gradients, Saved};
use super::geometry::Geometry;
use super::join::{self, Side};
use super::pointwise::InputGradientOf;
use super::pool::Buffer;
use super::rows::Rows;
use super::separate;

/// Which unit, with its weights.
pub(crate) enum Unit<'a> {
    /// Figure 3 (c) of the paper.
    Basic {
        /// Channels passed on.
        left: usize,
        /// Whether the right side's input is added to what became of it.
        residual: bool,
        right: Branch<'a>,
    },
    /// Figure 3 (d).
    Downsample {
        left: Branch<'a>,
        right: Branch<'a>,
        /// Whether the right branch comes first in the concatenation.
        right_first: bool,
    },
}

/// What the backward needs: of the right branch, and of the left where there is one.
pub(crate) struct UnitSaved {
    right: Saved,
    left: Option<Saved>,
}

impl Unit<'_> {
    /// Rows of the output, and what the backward needs. `x` holds `channels` values a row.
    pub fn forward(
        &self,
        at: Geometry,
        x: &[f32],
        channels: usize,
        epsilon: f64,
    ) -> (Buffer, UnitSaved) {
        let x = Rows::new(x, channels);
        let saved = match self {
            Self::Basic { left, right, .. } => UnitSaved {
                right: right.forward(at, behind(x, *left), epsilon),
                left: None,
            },
            Self::Downsample { left, right, .. } => UnitSaved {
                right: right.forward(at, x, epsilon),
                left: Some(left.forward(at, x, epsilon)),
            },
        };
        let (sides, _) = self.sides(x, &saved);
        let out = join::forward(at, &sides);
        (out, saved)
    }

    /// Mean and unbiased variance of each batch norm, one after the other: of the right branch's
    /// three, then of the left branch's two, where there is one.
    pub fn statistics(&self, saved: &UnitSaved) -> Vec<f32> {
        let branches = match self {
            Self::Basic { right, .. } => [Some((right, &saved.right)), None],
            Self::Downsample { left, right, .. } => {
                let left = saved.left.as_ref().map(|saved| (left, saved));
                [Some((right, &saved.right)), left]
            }
        };
        let of_branch = |(branch, saved): (&Branch, &Saved)| branch.statistics(saved);
        branches.into_iter().flatten().flat_map(of_branch).collect()
    }

    /// The two sides in the order of their concatenation, and the input's column that each side
    /// hands its gradient to, where it does.
    fn sides<'a>(&self, x: Rows<'a>, saved: &'a UnitSaved) -> ([Side<'a>; 2], [usize; 2]) {
        let transformed = |saved: &'a Saved, residual| Side::Transformed {
            last: &saved.pointwise2,
            residual,
        };
        match self {
            Self::Basic { left, residual, .. } => {
                let residual = residual.then(|| behind(x, *left));
                let passed = Side::Passed { x, channels: *left };
                ([passed, transformed(&saved.right, residual)], [0, *left])
            }
            Self::Downsample { right_first, .. } => {
                let right = transformed(&saved.right, None);
                let left = transformed(saved.left.as_ref().unwrap_or(&saved.right), None);
                let sides = if *right_first {
                    [right, left]
                } else {
                    [left, right]
                };
                (sides, [0, 0])
            }
        }
    }

    /// From the output's gradient: the input's, and the weights', of the right branch, then of the
    /// left.
    pub fn backward(
        &self,
        at: Geometry,
        x: &[f32],
        channels: usize,
        saved: &UnitSaved,
        dout: &[f32],
    ) -> (Buffer, Gradients) {
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
        let [first, second] = separate::backward(at, sides, dout, into, stride);
        let gradients = match self {
            Self::Basic {
                left,
                residual,
                right,
            } => {
                let mut into = InputGradientOf {
                    data: &mut dx[*left..],
                    stride: channels,
                    accumulate: *residual,
                };
                second.map(|g| right.backward(at, behind(x, *left), &saved.right, g, &mut into))
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
                let mut into = InputGradientOf {
                    data: &mut dx,
                    stride: channels,
                    accumulate: false,
                };
                // The left branch, without a first convolution, writes; the right one adds.
                let left = left_g
                    .zip(saved.left.as_ref())
                    .map(|(g, saved)| left.backward(at, x, saved, g, &mut into));
                into.accumulate = true;
                let right = right_g.map(|g| right.backward(at, x, &saved.right, g, &mut into));
                right
                    .zip(left)
                    .map(|(right, left)| right.into_iter().chain(left).collect())
            }
        };
        (dx, gradients.unwrap_or_default())
    }
}

/// The rows from channel `column` on.
fn behind(x: Rows, column: usize) -> Rows {
    Rows::new(&x.data[column..], x.stride)
}
