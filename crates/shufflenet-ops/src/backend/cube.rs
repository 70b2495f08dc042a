//! Operations on the backends of CubeCL (wgpu, CUDA, ROCm): the conversion from tensors to the kernels of
//! `shufflenet-gpu` and back.
//!
//! As on Flex, maps are stored pixel by pixel, and a tensor's strides express that order. A tensor that comes in another
//! order is copied, which is a launch.
//!
//! A tensor of bfloat16 is memory that only these kernels read and write: WGSL has no such type, so no operation of
//! Burn's may touch it. It is in the kernels' order always, and never copied.

use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::{permute_nchw_to_nhwc, permute_nhwc_to_nchw};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use shufflenet_gpu::branch::Branch;
use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::conv_norm::{self, ConvNorm, ConvNormGradient, Running};
use shufflenet_gpu::pointwise::Columns;
use shufflenet_gpu::stem::Stem;
use shufflenet_gpu::stored::Stored;
use shufflenet_gpu::unit::{Unit, UnitSaved};
use shufflenet_gpu::{cast, head, stem, stem_gradient};
use shufflenet_kernels::Precision;

use crate::backend::extension::RunningTensors;
use crate::backend::operation::{Forward, HasKernels, Kind, NormConfig, Operation, dtype};

/// What an operation keeps.
pub(crate) enum Saved {
    Stem(stem::Saved),
    Unit(Box<UnitSaved>),
    Head(head::Saved),
    Cast,
}

/// Whether a device keeps to the limits that the kernels are written for.
pub(crate) fn serves(device: &CubeDevice) -> bool {
    let client = device.client();
    let hardware = &client.properties().hardware;
    hardware.max_bindings >= shufflenet_gpu::MOST_BUFFERS
        && hardware.max_shared_memory_size >= shufflenet_gpu::MOST_SHARED_MEMORY
        && hardware.max_units_per_cube as usize >= shufflenet_gpu::MOST_THREADS
}

impl HasKernels for CubeBackend {
    type Saved = Saved;

    fn operation(kind: Kind, mut tensors: Vec<CubeTensor>) -> Operation<CubeBackend> {
        for (i, tensor) in tensors.iter_mut().enumerate() {
            *tensor = match (i, kind) {
                // The stem's images stay as they are uploaded, channel by channel.
                (1.., _) | (0, Kind::Stem { .. }) => into_contiguous(tensor.clone()),
                (0, _) => channels_last(tensor.clone()),
            };
        }
        Operation { kind, tensors }
    }

    fn forward(
        operation: &Operation<CubeBackend>,
        running: Vec<RunningTensors<CubeBackend>>,
        config: NormConfig,
    ) -> Forward<CubeBackend> {
        let config = conv_norm::NormConfig {
            epsilon: config.epsilon,
            momentum: config.momentum,
        };
        let before = running.into_iter().map(|running| Running {
            mean: buffer(into_contiguous(running.mean)),
            variance: buffer(into_contiguous(running.variance)),
        });
        let before: Vec<Running> = before.collect();
        let x = buffer(operation.tensors[0].clone());
        let device = &operation.tensors[0].device;
        let [images, channels, height, width] = operation.input();
        let (output, running, saved) = match operation.kind {
            Kind::Stem { .. } => {
                let stem = operation.stem();
                let (out, running, saved) =
                    stem::forward(&x, &stem, &operation.conv(0), &before[0], config);
                let [_, height, width] = stem.output();
                let shape = [images, operation.conv(0).outputs(), height, width];
                (from_rows(out, shape, device), running, Saved::Stem(saved))
            }
            Kind::Basic { .. } | Kind::Downsample { .. } => {
                let unit = operation.unit();
                let forward = unit.forward(&x, [images, height, width], &before, config);
                let [height, width] = operation.output();
                let channels = forward.output.len / (images * height * width);
                let shape = [images, channels, height, width];
                let saved = Saved::Unit(Box::new(forward.saved));
                (
                    from_rows(forward.output, shape, device),
                    forward.running,
                    saved,
                )
            }
            Kind::Cast { precision } => {
                let out = cast::cast(&x, stored(dtype(precision)));
                let shape = [images, channels, height, width];
                (from_rows(out, shape, device), vec![], Saved::Cast)
            }
            Kind::Head => {
                let x = whole(x, channels);
                let size = [images, height * width];
                let (out, running, saved) =
                    head::forward(&x, size, &operation.conv(0), &before[0], config);
                let shape = [images, operation.conv(0).outputs()];
                (tensor(out, &shape, device), running, Saved::Head(saved))
            }
        };
        let vector = |buffer: Buffer| {
            let columns = [buffer.len];
            tensor(buffer, &columns, device)
        };
        let running = running.into_iter().map(|running| RunningTensors {
            mean: vector(running.mean),
            variance: vector(running.variance),
        });
        Forward {
            output,
            running: running.collect(),
            saved,
        }
    }

    fn backward(
        operation: &Operation<CubeBackend>,
        saved: &Saved,
        output: CubeTensor,
        for_input: bool,
    ) -> Vec<Option<CubeTensor>> {
        let x = buffer(operation.tensors[0].clone());
        let device = &operation.tensors[0].device;
        let shape @ [images, channels, height, width] = operation.input();
        let weight = || buffer(operation.tensors[1].clone());
        let (dx, convolutions) = match saved {
            Saved::Stem(saved) => {
                let dout = buffer(channels_last(output));
                let weight = for_input.then(weight);
                let (conv, dx) =
                    stem_gradient::backward(&x, &operation.stem(), weight.as_ref(), saved, &dout);
                (dx.map(|dx| tensor(dx, &shape, device)), vec![conv])
            }
            Saved::Unit(saved) => {
                let dout = buffer(channels_last(output));
                let unit = operation.unit();
                let (dx, gradients) = unit.backward(&x, [images, height, width], saved, &dout);
                (Some(from_rows(dx, shape, device)), gradients)
            }
            Saved::Cast => {
                let dout = buffer(channels_last(output));
                let dx = cast::cast(&dout, x.stored);
                (Some(from_rows(dx, shape, device)), vec![])
            }
            Saved::Head(saved) => {
                let dout = buffer(into_contiguous(output));
                let x = whole(x, channels);
                let size = [images, height * width];
                let (dx, conv) = head::backward(&x, size, &weight(), saved, &dout);
                (Some(from_rows(dx, shape, device)), vec![conv])
            }
        };
        let mut gradients = vec![dx];
        for (number, conv) in convolutions.into_iter().enumerate() {
            let ConvNormGradient {
                weight,
                gamma,
                beta,
            } = conv;
            let shape = operation.tensors[1 + 3 * number].meta.shape().to_vec();
            let columns = [gamma.len];
            gradients.push(Some(tensor(weight, &shape, device)));
            gradients.push(Some(tensor(gamma, &columns, device)));
            gradients.push(Some(tensor(beta, &columns, device)));
        }
        gradients
    }
}

/// The operation's output in inference. `norms` has the rows of each norm, in the order of the convolutions.
pub(super) fn infer(operation: &Operation<CubeBackend>, norms: Vec<CubeTensor>) -> CubeTensor {
    let norms: Vec<Buffer> = norms
        .into_iter()
        .map(|x| buffer(into_contiguous(x)))
        .collect();
    let x = buffer(operation.tensors[0].clone());
    let device = &operation.tensors[0].device;
    let [images, channels, height, width] = operation.input();
    match operation.kind {
        Kind::Stem { .. } => {
            let stem = operation.stem();
            let out = stem::infer(&x, &stem, &operation.conv(0), &norms[0]);
            let [_, height, width] = stem.output();
            from_rows(
                out,
                [images, operation.conv(0).outputs(), height, width],
                device,
            )
        }
        Kind::Basic { .. } | Kind::Downsample { .. } => {
            let out = operation.unit().infer(&x, [images, height, width], &norms);
            let [height, width] = operation.output();
            let channels = out.len / (images * height * width);
            from_rows(out, [images, channels, height, width], device)
        }
        Kind::Head => {
            let x = whole(x, channels);
            let out = head::infer(&x, [images, height * width], &operation.conv(0), &norms[0]);
            tensor(out, &[images, operation.conv(0).outputs()], device)
        }
        Kind::Cast { .. } => operation.tensors[0].clone(),
    }
}

impl Operation<CubeBackend> {
    /// Images, channels, height and width of the input.
    fn input(&self) -> [usize; 4] {
        self.tensors[0].meta.shape().dims()
    }

    fn conv(&self, number: usize) -> ConvNorm {
        let [weight, gamma, beta] = [1, 2, 3].map(|i| buffer(self.tensors[3 * number + i].clone()));
        ConvNorm {
            weight,
            gamma,
            beta,
        }
    }

    fn stem(&self) -> Stem {
        let [images, channels, height, width] = self.input();
        let (stride, pool, precision) = match self.kind {
            Kind::Stem {
                stride,
                pool,
                precision,
            } => (stride, pool, precision),
            _ => (1, None, Precision::F32),
        };
        Stem {
            images,
            channels,
            height,
            width,
            stride,
            pool,
            stored: stored(dtype(precision)),
        }
    }

    fn unit(&self) -> Unit {
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

    /// Height and width of a unit's output.
    fn output(&self) -> [usize; 2] {
        let [_, _, height, width] = self.input();
        match self.kind {
            Kind::Downsample { .. } => [height, width].map(|side| side.div_ceil(2)),
            _ => [height, width],
        }
    }
}

/// A tensor's memory. The tensor is stored without gaps.
pub(super) fn buffer(tensor: CubeTensor) -> Buffer {
    Buffer {
        len: tensor.meta.shape().num_elements(),
        stored: stored(tensor.dtype),
        client: tensor.client,
        handle: tensor.handle,
    }
}

fn stored(dtype: DType) -> Stored {
    match dtype {
        DType::BF16 => Stored::Bf16,
        _ => Stored::F32,
    }
}

/// A tensor, stored in the order of its dimensions.
pub(super) fn tensor(buffer: Buffer, shape: &[usize], device: &CubeDevice) -> CubeTensor {
    let shape = Shape::from(shape.to_vec());
    let dtype = match buffer.stored {
        Stored::F32 => DType::F32,
        Stored::Bf16 => DType::BF16,
    };
    let Buffer { client, handle, .. } = buffer;
    CubeTensor::new_contiguous(client, device.clone(), shape, handle, dtype)
}

/// A tensor of `[batch, channels, height, width]` from rows of pixels, without a copy.
fn from_rows(
    rows: Buffer,
    [images, channels, height, width]: [usize; 4],
    device: &CubeDevice,
) -> CubeTensor {
    permute_nhwc_to_nchw(tensor(rows, &[images, height, width, channels], device))
}

/// The tensor stored pixel by pixel. It is copied only if it is not stored so already.
fn channels_last(x: CubeTensor) -> CubeTensor {
    permute_nhwc_to_nchw(into_contiguous(permute_nchw_to_nhwc(x)))
}

/// All channels of a map.
fn whole(data: Buffer, channels: usize) -> Columns {
    Columns {
        data,
        row: channels,
        first: 0,
    }
}
