//! The conversion from Flex tensors to kernels and back: what an operation reads, keeps, and returns.
//!
//! Inputs and outputs are tensors of shape `[batch, channels, height, width]`. Between operations they
//! are stored pixel by pixel. The tensor's strides express that order, so it takes no copy and other
//! code needs no change.

use burn::backend::Flex;
use burn::backend::ops::{ConvOptions, ModuleOps};
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

use crate::kernels::packing::ConvNorm;
use crate::kernels::rows::Rows;
use crate::runtime::buffer::Buffer;
use crate::simd::Isa;
use crate::training::branch::Branch;
use crate::training::geometry::Geometry;
use crate::training::head;
use crate::training::pointwise::{ConvNormGradient, Normed};
use crate::training::stem::{self, Stem};
use crate::training::unit::{Unit, UnitSaved};

/// Kind of an operation, with its parameters that are no tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Stem {
        stride: usize,
        pool: Option<usize>,
    },
    Basic {
        left_channels: usize,
        residual: bool,
    },
    Downsample {
        right_first: bool,
    },
    Head,
}

/// An operation with its tensors, in the order of its node's parents: the input, then weight, gamma
/// and beta of each convolution. A unit has the right branch's three convolutions, then the left
/// branch's two.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    kind: Kind,
    tensors: Vec<FlexTensor>,
}

/// What the backward needs besides the tensors.
pub(crate) enum Saved {
    Stem(stem::Saved),
    Unit(Box<UnitSaved>),
    Head(Normed),
}

/// Result of the forward.
pub(crate) struct Forward {
    pub output: FlexTensor,
    /// Mean and unbiased variance of each batch norm, one after the other.
    pub statistics: FlexTensor,
    pub saved: Saved,
}

impl Operation {
    pub fn new(kind: Kind, tensors: impl IntoIterator<Item = FlexTensor>) -> Self {
        let mut tensors: Vec<FlexTensor> = tensors.into_iter().collect();
        for (i, tensor) in tensors.iter_mut().enumerate() {
            *tensor = match (i, kind) {
                // The stem's images stay as decoded, channel by channel.
                (0, Kind::Basic { .. } | Kind::Downsample { .. } | Kind::Head) => {
                    channels_last(tensor.clone())
                }
                _ => whole(tensor),
            };
        }
        Self { kind, tensors }
    }

    fn input(&self) -> (&[f32], [usize; 4]) {
        (
            self.tensors[0].storage(),
            self.tensors[0].layout().shape().dims(),
        )
    }

    fn conv(&self, number: usize) -> ConvNorm<'_> {
        let [weight, gamma, beta] = [1, 2, 3].map(|i| self.tensors[3 * number + i].storage());
        ConvNorm {
            weight,
            gamma,
            beta,
        }
    }

    fn geometry(&self) -> Geometry {
        let (_, [images, _, height, width]) = self.input();
        let sizes = [images, height, width];
        let isa = Isa::detected();
        match self.kind {
            Kind::Stem { stride, .. } => stem::geometry(isa, sizes, stride),
            Kind::Basic { .. } => Geometry::new(isa, sizes, 1, self.conv(2).outputs()),
            Kind::Downsample { .. } => Geometry::new(isa, sizes, 2, self.conv(2).outputs()),
            Kind::Head => Geometry::new(isa, sizes, 1, self.conv(0).outputs()),
        }
    }

    fn unit(&self) -> Unit<'_> {
        let right = Branch {
            pointwise1: Some(self.conv(0)),
            depthwise: self.conv(1),
            pointwise2: self.conv(2),
        };
        match self.kind {
            Kind::Downsample { right_first } => Unit::Downsample {
                left: Branch {
                    pointwise1: None,
                    depthwise: self.conv(3),
                    pointwise2: self.conv(4),
                },
                right,
                right_first,
            },
            Kind::Basic {
                left_channels: left,
                residual,
            } => Unit::Basic {
                left,
                residual,
                right,
            },
            Kind::Stem { .. } | Kind::Head => unreachable!("neither stem nor head is a unit"),
        }
    }

    fn stem(&self, pool: Option<usize>) -> Stem<'_> {
        let (_, [_, channels, ..]) = self.input();
        Stem {
            at: self.geometry(),
            channels,
            conv: self.conv(0),
            pool,
        }
    }

    /// Computes the output, the statistics and what the backward needs.
    pub fn forward(&self, epsilon: f64) -> Forward {
        let (x, [images, channels, ..]) = self.input();
        let at = self.geometry();
        let (output, size, saved) = match self.kind {
            Kind::Stem { pool, .. } => {
                let stem = self.stem(pool);
                let (out, saved) = stem.forward(x, epsilon);
                (out, stem.output(), Saved::Stem(saved))
            }
            Kind::Basic { .. } | Kind::Downsample { .. } => {
                let (out, saved) = self.unit().forward(at, x, channels, epsilon);
                (out, at.output(), Saved::Unit(Box::new(saved)))
            }
            Kind::Head => {
                let rows = Rows::new(x, channels);
                let (out, saved) = head::forward(at, rows, self.conv(0), epsilon);
                (out, [1, 1], Saved::Head(saved))
            }
        };
        let [height, width] = size;
        let channels = output.len() / (images * height * width).max(1);
        let output = match self.kind {
            Kind::Head => tensor(output.into_bytes(), &[images, channels]),
            _ => from_rows(output, [images, channels, height, width]),
        };
        let statistics = self.statistics(&saved);
        let count = statistics.len();
        let statistics = tensor(Bytes::from_elems(statistics), &[count]);
        Forward {
            output,
            statistics,
            saved,
        }
    }

    fn statistics(&self, saved: &Saved) -> Vec<f32> {
        match saved {
            Saved::Stem(saved) => saved.normed.norm.statistics(),
            Saved::Unit(saved) => self.unit().statistics(saved),
            Saved::Head(saved) => saved.norm.statistics(),
        }
    }

    /// The gradients in the order of the tensors, from the output's gradient. A stem computes the gradient of
    /// its images only if `for_input` is set.
    pub fn backward(
        &self,
        saved: &Saved,
        output: FlexTensor,
        for_input: bool,
    ) -> Vec<Option<FlexTensor>> {
        let (x, shape @ [_, channels, ..]) = self.input();
        let at = self.geometry();
        let (dx, convolutions) = match (saved, self.kind) {
            (Saved::Stem(saved), Kind::Stem { pool, stride }) => {
                let output = channels_last(output);
                let stem = self.stem(pool);
                let images = for_input.then(|| {
                    let dy = stem.convolution_gradient(saved, output.storage());
                    let [height, width] = at.output();
                    let dy = from_rows(dy, [shape[0], self.conv(0).outputs(), height, width]);
                    let options = ConvOptions::new([stride, stride], [1, 1], [1, 1], 1);
                    let [x, weight] = [0, 1].map(|i| self.tensors[i].clone());
                    Flex::conv2d_x_backward(x, weight, whole(&dy), options)
                });
                (images, vec![stem.backward(x, saved, output.storage())])
            }
            (Saved::Unit(saved), _) => {
                let output = channels_last(output);
                let (dx, weights) = self
                    .unit()
                    .backward(at, x, channels, saved, output.storage());
                (Some(from_rows(dx, shape)), weights)
            }
            (Saved::Head(saved), _) => {
                let rows = Rows::new(x, channels);
                let output = whole(&output);
                let (dx, conv) = head::backward(at, rows, self.conv(0), saved, output.storage());
                (Some(from_rows(dx, shape)), vec![conv])
            }
            (Saved::Stem(_), _) => unreachable!("only a stem keeps a stem's"),
        };
        let mut gradients = vec![dx];
        for (
            number,
            ConvNormGradient {
                weight,
                gamma,
                beta,
            },
        ) in convolutions.into_iter().enumerate()
        {
            let shape = self.tensors[1 + 3 * number].layout().shape().to_vec();
            let width = [gamma.len()];
            gradients.push(Some(tensor(weight.into_bytes(), &shape)));
            gradients.push(Some(tensor(Bytes::from_elems(gamma), &width)));
            gradients.push(Some(tensor(Bytes::from_elems(beta), &width)));
        }
        gradients
    }
}

fn tensor(values: Bytes, shape: &[usize]) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from(shape.to_vec()));
    FlexTensor::new(values, layout, DType::F32)
}

/// A tensor of `[batch, channels, height, width]` from rows of pixels, without a copy.
fn from_rows(rows: Buffer, shape: [usize; 4]) -> FlexTensor {
    let layout = Layout::new(Shape::from(shape.to_vec()), pixel_strides(shape), 0);
    FlexTensor::new(rows.into_bytes(), layout, DType::F32)
}

/// Strides of a `[batch, channels, height, width]` tensor that is stored pixel by pixel.
fn pixel_strides([_, channels, height, width]: [usize; 4]) -> Vec<isize> {
    [height * width * channels, 1, width * channels, channels]
        .map(|stride| stride as isize)
        .to_vec()
}

/// The tensor stored in the order of its dimensions, with nothing else in its storage. It is copied only
/// if it is not stored so already.
fn whole(x: &FlexTensor) -> FlexTensor {
    let x = x.to_contiguous();
    let values = x.layout().num_elements();
    if x.layout().start_offset() == 0 && x.storage::<f32>().len() == values {
        return x;
    }
    let shape = x.layout().shape().to_vec();
    let start = x.layout().start_offset();
    tensor(
        Bytes::from_elems(x.storage::<f32>()[start..start + values].to_vec()),
        &shape,
    )
}

/// The tensor stored pixel by pixel, with nothing else in its storage. It is copied only if it is not
/// stored so already.
fn channels_last(x: FlexTensor) -> FlexTensor {
    let shape: [usize; 4] = x.layout().shape().dims();
    let strides = pixel_strides(shape);
    let mut dimensions = x.layout().strides().iter().zip(&strides).zip(&shape);
    let as_wanted = dimensions.all(|((found, wanted), size)| found == wanted || *size == 1);
    let values: usize = shape.iter().product();
    if as_wanted && x.layout().start_offset() == 0 && x.storage::<f32>().len() == values {
        return x;
    }
    let layout = x.layout().permute(&[0, 2, 3, 1]);
    let rows = whole(&x.with_layout(layout));
    rows.with_layout(Layout::new(Shape::from(shape.to_vec()), strides, 0))
}
