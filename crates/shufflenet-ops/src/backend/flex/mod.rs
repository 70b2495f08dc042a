//! Operations on Flex: the conversion from tensors to the CPU's kernels and back.
//!
//! Inputs and outputs are tensors of shape `[batch, channels, height, width]`, stored pixel by pixel (`layout.rs`).
//! They are float32 or bfloat16: a stem's output as its kind says, a unit's output as its input, and each gradient as
//! what it is the gradient of. Images, weights, the head's output and statistics are float32.

mod layout;

use burn::backend::Flex;
use burn::backend::ops::{ConvOptions, ModuleOps};
use burn::tensor::{Bytes, DType};
use burn_flex::FlexTensor;
use burn_std::bf16;
use shufflenet_kernels::training::{
    Branch, ConvNormGradient, Geometry, Normed, Stem, Unit, UnitSaved, stem,
};
use shufflenet_kernels::{ConvNorm, Isa, Precision, Rows, Stored};

use layout::{Carried, channels_last, from_rows, maps, tensor, whole};

use crate::backend::extension::RunningTensors;
use crate::backend::operation::{Forward, HasKernels, Kind, NormConfig, Operation};
use crate::backend::storage::bytes;

/// What the backward needs besides the tensors, as it is stored.
pub(crate) enum Saved {
    F32(Kept<f32>),
    Bf16(Kept<bf16>),
}

/// What an operation keeps.
pub(crate) enum Kept<T: Stored> {
    Stem(stem::Saved<T>),
    Unit(Box<UnitSaved<T>>),
    Head(Normed<T>),
}

impl HasKernels for Flex {
    type Saved = Saved;

    fn operation(kind: Kind, mut tensors: Vec<FlexTensor>) -> Operation<Flex> {
        for (i, tensor) in tensors.iter_mut().enumerate() {
            *tensor = match (i, kind) {
                // The stem's images stay as decoded, channel by channel.
                (1.., _) | (0, Kind::Stem { .. }) => whole::<f32>(tensor),
                (0, _) if tensor.dtype() == DType::BF16 => channels_last::<bf16>(tensor.clone()),
                (0, _) => channels_last::<f32>(tensor.clone()),
            };
        }
        Operation { kind, tensors }
    }

    fn forward(
        operation: &Operation<Flex>,
        running: Vec<RunningTensors<Flex>>,
        config: NormConfig,
    ) -> Forward<Flex> {
        match operation.precision() {
            Precision::F32 => operation.forward_in(running, config, Saved::F32),
            Precision::Bf16 => operation.forward_in(running, config, Saved::Bf16),
        }
    }

    fn backward(
        operation: &Operation<Flex>,
        saved: &Saved,
        output: FlexTensor,
        for_input: bool,
    ) -> Vec<Option<FlexTensor>> {
        match saved {
            Saved::F32(kept) => operation.backward_in(kept, output, for_input),
            Saved::Bf16(kept) => operation.backward_in(kept, output, for_input),
        }
    }
}

impl Operation<Flex> {
    fn input(&self) -> (&FlexTensor, [usize; 4]) {
        let input = &self.tensors[0];
        (input, input.layout().shape().dims())
    }

    /// What the activations are stored as.
    fn precision(&self) -> Precision {
        match self.kind {
            Kind::Stem { precision, .. } => precision,
            _ if self.tensors[0].dtype() == DType::BF16 => Precision::Bf16,
            _ => Precision::F32,
        }
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
            Kind::Cast { .. } => unreachable!("Burn casts"),
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
            Kind::Stem { .. } | Kind::Head | Kind::Cast { .. } => {
                unreachable!("only units have branches")
            }
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

    fn forward_in<T: Carried>(
        &self,
        running: Vec<RunningTensors<Flex>>,
        config: NormConfig,
        saved: fn(Kept<T>) -> Saved,
    ) -> Forward<Flex> {
        let epsilon = config.epsilon;
        let (x, [images, channels, ..]) = self.input();
        let at = self.geometry();
        let (output, kept) = match self.kind {
            Kind::Stem { pool, .. } => {
                let stem = self.stem(pool);
                let (out, kept) = T::stem_forward(stem, x.storage(), epsilon);
                (maps(out, images, stem.output()), Kept::Stem(kept))
            }
            Kind::Basic { .. } | Kind::Downsample { .. } => {
                let (out, kept) = T::unit_forward(self.unit(), at, T::values(x), channels, epsilon);
                (maps(out, images, at.output()), Kept::Unit(Box::new(kept)))
            }
            Kind::Head => {
                let rows = Rows::new(T::values(x), channels);
                let (out, kept) = T::head_forward(at, rows, self.conv(0), epsilon);
                let size = [images, self.conv(0).outputs()];
                (tensor(bytes(out), &size), Kept::Head(kept))
            }
            Kind::Cast { .. } => unreachable!("Burn casts"),
        };
        let statistics = self.statistics(&kept);
        Forward {
            output,
            running: moved(running, &statistics, config.momentum),
            saved: saved(kept),
        }
    }

    /// Mean and unbiased variance of each batch norm, one after the other.
    fn statistics<T: Stored>(&self, kept: &Kept<T>) -> Vec<f32> {
        match kept {
            Kept::Stem(kept) => kept.normed.norm.statistics(),
            Kept::Unit(kept) => self.unit().statistics(kept),
            Kept::Head(kept) => kept.norm.statistics(),
        }
    }

    fn backward_in<T: Carried>(
        &self,
        kept: &Kept<T>,
        output: FlexTensor,
        for_input: bool,
    ) -> Vec<Option<FlexTensor>> {
        let (x, shape @ [_, channels, ..]) = self.input();
        let at = self.geometry();
        let (dx, convolutions) = match (kept, self.kind) {
            (Kept::Stem(kept), Kind::Stem { pool, stride, .. }) => {
                let output = channels_last::<T>(output);
                let dout = T::values(&output);
                let stem = self.stem(pool);
                let images = for_input.then(|| {
                    let dy = T::stem_convolution_gradient(stem, kept, dout);
                    let [height, width] = at.output();
                    let dy = from_rows(dy, [shape[0], self.conv(0).outputs(), height, width]);
                    let options = ConvOptions::new([stride, stride], [1, 1], [1, 1], 1);
                    let [x, weight] = [0, 1].map(|i| self.tensors[i].clone());
                    Flex::conv2d_x_backward(x, weight, whole::<f32>(&dy), options)
                });
                (
                    images,
                    vec![T::stem_backward(stem, x.storage(), kept, dout)],
                )
            }
            (Kept::Unit(kept), _) => {
                let output = channels_last::<T>(output);
                let dout = T::values(&output);
                let (dx, weights) =
                    T::unit_backward(self.unit(), at, T::values(x), channels, kept, dout);
                (Some(from_rows(dx, shape)), weights)
            }
            (Kept::Head(kept), _) => {
                let rows = Rows::new(T::values(x), channels);
                let output = whole::<f32>(&output);
                let (dx, conv) = T::head_backward(at, rows, self.conv(0), kept, output.storage());
                (Some(from_rows(dx, shape)), vec![conv])
            }
            (Kept::Stem(_), _) => unreachable!("only a stem keeps a stem's"),
        };
        let mut gradients = vec![dx];
        for (number, conv) in convolutions.into_iter().enumerate() {
            let ConvNormGradient {
                weight,
                gamma,
                beta,
            } = conv;
            let shape = self.tensors[1 + 3 * number].layout().shape().to_vec();
            let width = [gamma.len()];
            gradients.push(Some(tensor(bytes(weight), &shape)));
            gradients.push(Some(tensor(Bytes::from_elems(gamma), &width)));
            gradients.push(Some(tensor(Bytes::from_elems(beta), &width)));
        }
        gradients
    }
}

/// Moves running statistics towards those of the batch: `(1 - momentum) running + momentum batch`.
fn moved(
    running: Vec<RunningTensors<Flex>>,
    batch: &[f32],
    momentum: f64,
) -> Vec<RunningTensors<Flex>> {
    let [kept, momentum] = [1.0 - momentum, momentum].map(|factor| factor as f32);
    let mut batch = batch.iter();
    let mut move_one = |old: FlexTensor| {
        let old = whole::<f32>(&old);
        let old: &[f32] = old.storage();
        let pairs = old.iter().zip(batch.by_ref());
        let new: Vec<f32> = pairs
            .map(|(old, new)| old * kept + new * momentum)
            .collect();
        let count = new.len();
        tensor(Bytes::from_elems(new), &[count])
    };
    let move_both = |RunningTensors { mean, variance }| RunningTensors {
        mean: move_one(mean),
        variance: move_one(variance),
    };
    running.into_iter().map(move_both).collect()
}
