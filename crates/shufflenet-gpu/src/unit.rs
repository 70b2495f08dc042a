//! Both units of the network (Ma et al., 2018, figure 3 (c) and (d)).
//!
//! A stride-1 unit passes its first channels on and sends the others through a branch. A stride-2 unit sends all channels
//! through two branches. Both end in a concatenation and a shuffle ([`crate::join`]). A unit keeps its input and the output
//! of each convolution for the backward.

use crate::branch::{Branch, Gradients, Maps, Saved, whole};
use crate::branch_end::Output;
use crate::buffer::Buffer;
use crate::conv_norm::{ConvNorm, ConvNormGradient, NormConfig, Running};
use crate::join::{self, Side};
use crate::norms::Norms;
use crate::pointwise::Columns;
use crate::separate::{self, Passed};

/// A unit with its parameters.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a network has a few dozen")]
pub enum Unit {
    /// The stride-1 unit.
    Basic {
        /// Channels passed on.
        left: usize,
        /// Whether the branch's input is added to its output.
        residual: bool,
        /// The branch.
        right: Branch,
    },
    /// The stride-2 unit.
    Downsample {
        /// The branch without a first 1x1 convolution.
        left: Branch,
        /// The branch with three convolutions.
        right: Branch,
        /// Whether the right branch comes first in the concatenation.
        right_first: bool,
    },
}

/// What the backward needs of each branch: of the right branch, then of the left branch if there is one.
pub struct UnitSaved(Vec<Saved>);

/// What the forward gives.
pub struct Forward {
    /// `[output pixels, channels]`
    pub output: Buffer,
    /// Running statistics after the batch: those of the right branch's norms, then the left branch's.
    pub running: Vec<Running>,
    /// For the backward.
    pub saved: UnitSaved,
}

impl Unit {
    /// Computes the output of `x`, `[pixels, channels]`, whose maps are `input`: images, height and width. `running` has
    /// the running statistics before the batch, in the order of [`Forward::running`].
    pub fn forward(
        &self,
        x: &Buffer,
        input: [usize; 3],
        running: &[Running],
        config: NormConfig,
    ) -> Forward {
        let maps = self.maps(input);
        let x = whole(x, x.len / maps.pixels_in());
        let mut norms = Norms::new(&x.data.client, self.convolutions(), running, config);
        let saved = UnitSaved(match self {
            Self::Basic { left, right, .. } => {
                vec![right.forward(maps, &behind(&x, *left), &mut norms)]
            }
            Self::Downsample { left, right, .. } => vec![
                right.forward(maps, &x, &mut norms),
                left.forward(maps, &x, &mut norms),
            ],
        });
        Forward {
            output: self.join(&x, maps, &saved),
            running: norms.moved(),
            saved,
        }
    }

    /// Computes the output in inference. Maps are float32. `norms` has
    /// [`FrozenNorm::rows`](crate::norms::FrozenNorm::rows) of each norm, in the order of [`Forward::running`].
    pub fn infer(&self, x: &Buffer, input: [usize; 3], norms: &[Buffer]) -> Buffer {
        let maps = self.maps(input);
        let x = &whole(x, x.len / maps.pixels_in());
        let empty = |channels| Buffer::empty(&x.data.client, maps.pixels_out() * channels);
        match self {
            Self::Basic {
                left,
                residual,
                right,
            } => {
                let channels = left + right.pointwise2.outputs();
                let out = empty(channels);
                let to = Output {
                    x,
                    passed: *left,
                    residual: *residual,
                    out: &out,
                    channels,
                    start: *left,
                };
                right.infer(maps, &behind(x, *left), norms, &to);
                out
            }
            Self::Downsample {
                left,
                right,
                right_first,
            } => {
                let [of_left, of_right] = [left, right].map(|branch| branch.pointwise2.outputs());
                let channels = of_left + of_right;
                let out = empty(channels);
                let to = |start| Output {
                    x,
                    passed: 0,
                    residual: false,
                    out: &out,
                    channels,
                    start,
                };
                let [left_start, right_start] = match right_first {
                    true => [of_right, 0],
                    false => [0, of_left],
                };
                let (right_norms, left_norms) = norms.split_at(right.convolutions().count());
                right.infer(maps, x, right_norms, &to(right_start));
                left.infer(maps, x, left_norms, &to(left_start));
                out
            }
        }
    }

    fn join(&self, x: &Columns, maps: Maps, saved: &UnitSaved) -> Buffer {
        let pixels = maps.pixels_out();
        match self {
            Self::Basic {
                left,
                residual,
                right,
            } => {
                let input = behind(x, *left);
                let passed = Side::Passed { x, channels: *left };
                let residual = residual.then_some(&input);
                join::join(&passed, &transformed(right, &saved.0[0], residual), pixels)
            }
            Self::Downsample {
                left,
                right,
                right_first,
            } => {
                let right = transformed(right, &saved.0[0], None);
                let left = transformed(left, &saved.0[1], None);
                match right_first {
                    true => join::join(&right, &left, pixels),
                    false => join::join(&left, &right, pixels),
                }
            }
        }
    }

    /// Computes the gradient of the input, `[pixels, channels]`, and those of the parameters, in the order of
    /// [`Forward::running`], from the gradient of the output.
    pub fn backward(
        &self,
        x: &Buffer,
        input: [usize; 3],
        saved: &UnitSaved,
        dout: &Buffer,
    ) -> (Buffer, Vec<ConvNormGradient>) {
        let maps = self.maps(input);
        let x = whole(x, x.len / maps.pixels_in());
        let pixels = maps.pixels_out();
        let of_right = &saved.0[0];
        let norm3 = &of_right.pointwise2.norm;
        let arena = &ConvNorm::gradients(&dout.client, self.convolutions());
        match self {
            Self::Basic {
                left,
                residual,
                right,
            } => {
                let dx = Buffer::map(&dout.client, x.data.len, x.data.stored);
                let passed = Passed {
                    dx: &dx,
                    channels: *left,
                    residual: *residual,
                };
                let branch = last_of(right, of_right);
                let (g, sums) = separate::passed_and_branch(dout, pixels, &passed, &branch);
                let norm3 = sums.finish(norm3, pixels, arena);
                let into = Gradients {
                    dx: &behind(&whole(&dx, x.row), *left),
                    add: *residual,
                    parameters: arena,
                };
                let x = behind(&x, *left);
                let gradients = right.backward(maps, &x, of_right, &g, norm3, &into);
                (dx, gradients)
            }
            Self::Downsample {
                left,
                right,
                right_first,
            } => {
                let of_left = &saved.0[1];
                let ends = [last_of(left, of_left), last_of(right, of_right)];
                let [(g_left, sums_left), (g_right, sums_right)] =
                    separate::branches(dout, pixels, &ends, *right_first);
                let left_norm3 = sums_left.finish(&of_left.pointwise2.norm, pixels, arena);
                let begun = left.to_depthwise(maps, &x, of_left, &g_left, left_norm3, arena);
                // The right branch's first launch also adds the rows of the left branch's last product.
                let (norm3, taps) =
                    sums_right.finish_with(norm3, pixels, &begun.depthwise.weight, arena);
                // The left branch has written `dx`; the right branch adds to it.
                let dx = begun.depthwise.g.clone();
                let into = Gradients {
                    dx: &whole(&dx, x.row),
                    add: true,
                    parameters: arena,
                };
                let mut gradients = right.backward(maps, &x, of_right, &g_right, norm3, &into);
                gradients.extend(begun.gradients(taps));
                (dx, gradients)
            }
        }
    }

    /// The convolutions in the order of [`Forward::running`].
    fn convolutions(&self) -> impl Iterator<Item = &ConvNorm> {
        let (right, left) = match self {
            Self::Basic { right, .. } => (right, None),
            Self::Downsample { left, right, .. } => (right, Some(left)),
        };
        let left = left.into_iter().flat_map(Branch::convolutions);
        right.convolutions().chain(left)
    }

    fn maps(&self, input: [usize; 3]) -> Maps {
        let stride = match self {
            Self::Basic { .. } => 1,
            Self::Downsample { .. } => 2,
        };
        Maps { input, stride }
    }
}

/// The channels from number `first` on.
fn behind(x: &Columns, first: usize) -> Columns {
    Columns {
        data: x.data.clone(),
        row: x.row,
        first,
    }
}

fn transformed<'a>(branch: &Branch, saved: &'a Saved, residual: Option<&'a Columns>) -> Side<'a> {
    Side::Transformed {
        y: &saved.pointwise2.y,
        norm: &saved.pointwise2.norm,
        channels: branch.pointwise2.outputs(),
        residual,
    }
}

fn last_of<'a>(branch: &Branch, saved: &'a Saved) -> separate::Branch<'a> {
    separate::Branch {
        y: &saved.pointwise2.y,
        norm: &saved.pointwise2.norm,
        columns: branch.pointwise2.outputs(),
    }
}
