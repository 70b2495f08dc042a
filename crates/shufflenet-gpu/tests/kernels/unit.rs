//! Tests of whole units, forward and backward.

use cubecl::prelude::Client;
use shufflenet_gpu::branch::Branch;
use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::conv_norm::{ConvNormGradient, Running};
use shufflenet_gpu::stored::Stored;
use shufflenet_gpu::unit::Unit;

use crate::host::{
    AT_ONCE, assert_close, assert_to, bits, client, columns, download, noise, rounded, shuffled,
    statistics, upload, upload_as, widened, zeros,
};
use crate::layers::{Layer, Trace, as_stored, backward, forward};

/// Number of images, height and width of the input.
pub const INPUT: [usize; 3] = [3, 6, 5];

/// A unit, its input, and the gradient of its output.
pub struct Case {
    right: Vec<Layer>,
    left: Left,
    channels: usize,
    x: Vec<f32>,
    dout: Vec<f32>,
    stored: Stored,
}

enum Left {
    Passed { channels: usize, residual: bool },
    Branch { layers: Vec<Layer>, last: bool },
}

fn right(inputs: usize, middle: usize, outputs: usize) -> Vec<Layer> {
    vec![
        Layer::new(inputs, middle, false, 10),
        Layer::new(middle, middle, true, 20),
        Layer::new(middle, outputs, false, 30),
    ]
}

/// A stride-1 unit that passes on five of fourteen channels.
pub fn basic(residual: bool) -> Case {
    Case::basic([5, 6, 9], residual, Stored::F32)
}

/// A stride-2 unit with thirteen input channels, whose branches give six and ten. The left branch is the first or the
/// last in the concatenation.
pub fn downsample(left_last: bool) -> Case {
    Case::downsample([13, 7, 6, 10], left_last, Stored::F32)
}

/// The gradients of the two sides of a concatenation of `channels` channels, from the gradient after the shuffle.
fn separated(dout: &[f64], channels: usize, first: usize) -> [Vec<f64>; 2] {
    let half = channels / 2;
    let of = |from: usize, to: usize| {
        let of_pixel = |pixel: &[f64]| -> Vec<f64> {
            (from..to)
                .map(|k| pixel[2 * (k % half) + k / half])
                .collect()
        };
        dout.chunks_exact(channels).flat_map(of_pixel).collect()
    };
    [of(0, first), of(first, channels)]
}

/// The results of a unit: its output, the gradient of its input, and for each convolution mean, variance, and the
/// gradients of weight, gamma and beta.
struct Computed {
    out: Vec<f64>,
    dx: Vec<f64>,
    layers: Vec<[Vec<f64>; 5]>,
    /// The norms of the convolutions, in the rows that kernels read.
    norms: Vec<Vec<f32>>,
}

impl Case {
    /// A stride-1 unit, given by the channels that it passes on, those in the middle of the branch, and those at its ends.
    fn basic([left, middle, of_right]: [usize; 3], residual: bool, stored: Stored) -> Self {
        let channels = left + of_right;
        let len = INPUT.iter().product::<usize>() * channels;
        Self {
            right: right(of_right, middle, of_right),
            left: Left::Passed {
                channels: left,
                residual,
            },
            channels,
            x: rounded(&noise(len, 1), stored),
            dout: rounded(&noise(len, 2), stored),
            stored,
        }
    }

    /// A stride-2 unit, given by its input channels, those in the middle of the right branch, and the outputs of the
    /// left and of the right branch.
    fn downsample(
        [channels, middle, left, of_right]: [usize; 4],
        left_last: bool,
        stored: Stored,
    ) -> Self {
        let pixels = INPUT.iter().product::<usize>();
        Self {
            right: right(channels, middle, of_right),
            left: Left::Branch {
                layers: vec![
                    Layer::new(channels, channels, true, 40),
                    Layer::new(channels, left, false, 50),
                ],
                last: left_last,
            },
            channels,
            x: rounded(&noise(pixels * channels, 1), stored),
            dout: rounded(&noise(3 * 3 * 3 * (left + of_right), 2), stored),
            stored,
        }
    }

    fn expected(&self) -> Computed {
        let dout = widened(&self.dout);
        match &self.left {
            Left::Passed { channels, residual } => self.expected_basic(dout, *channels, *residual),
            Left::Branch { layers, last } => self.expected_downsample(dout, layers, *last),
        }
    }

    fn expected_basic(&self, dout: Vec<f64>, left: usize, residual: bool) -> Computed {
        let (row, pixels) = (self.channels, self.x.len() / self.channels);
        let passed = columns(&self.x, row, 0, left);
        let x = columns(&self.x, row, left, row - left);
        let (traces, mut side) = forward(&self.right, x.clone(), INPUT, 1, self.stored);
        if residual {
            side.iter_mut().zip(&x).for_each(|(side, x)| *side += x);
        }
        let [d_passed, d_side] = separated(&dout, row, left);
        let (mut dx, gradients) = backward(&self.right, &traces, d_side.clone(), self.stored);
        if residual {
            dx.iter_mut().zip(&d_side).for_each(|(dx, d)| *dx += d);
        }
        let of_pixel = |p: usize| {
            [
                &d_passed[p * left..][..left],
                &dx[p * (row - left)..][..row - left],
            ]
            .concat()
        };
        Computed {
            out: shuffled(&passed, &side, pixels),
            dx: (0..pixels).flat_map(of_pixel).collect(),
            layers: joined(&traces, gradients),
            norms: traces.iter().map(|trace| trace.norm.rows()).collect(),
        }
    }

    fn expected_downsample(&self, dout: Vec<f64>, layers: &[Layer], last: bool) -> Computed {
        let x = widened(&self.x);
        let (traces_right, right) = forward(&self.right, x.clone(), INPUT, 2, self.stored);
        let (traces_left, left) = forward(layers, x, INPUT, 2, self.stored);
        let [of_left, of_right] = [layers, &self.right].map(|l| l[l.len() - 1].gamma.len());
        let pixels = left.len() / of_left;
        let channels = of_left + of_right;
        let (out, d_left, d_right) = match last {
            true => {
                let [d_right, d_left] = separated(&dout, channels, of_right);
                (shuffled(&right, &left, pixels), d_left, d_right)
            }
            false => {
                let [d_left, d_right] = separated(&dout, channels, of_left);
                (shuffled(&left, &right, pixels), d_left, d_right)
            }
        };
        let (mut dx, gradients) = backward(&self.right, &traces_right, d_right, self.stored);
        let (dx_left, gradients_left) = backward(layers, &traces_left, d_left, self.stored);
        let dx_left = as_stored(&dx_left, self.stored);
        dx.iter_mut().zip(&dx_left).for_each(|(dx, d)| *dx += d);
        let mut layers = joined(&traces_right, gradients);
        layers.extend(joined(&traces_left, gradients_left));
        let traces = traces_right.iter().chain(&traces_left);
        Computed {
            out,
            dx,
            layers,
            norms: traces.map(|trace| trace.norm.rows()).collect(),
        }
    }

    /// The unit, its input, and the gradient of its output on the device.
    pub fn upload(&self, client: &Client) -> (Unit, Buffer, Buffer) {
        let right = Branch {
            pointwise1: Some(self.right[0].upload(client)),
            depthwise: self.right[1].upload(client),
            pointwise2: self.right[2].upload(client),
        };
        let unit = match &self.left {
            Left::Passed { channels, residual } => Unit::Basic {
                left: *channels,
                residual: *residual,
                right,
            },
            Left::Branch { layers, last } => Unit::Downsample {
                left: Branch {
                    pointwise1: None,
                    depthwise: layers[0].upload(client),
                    pointwise2: layers[1].upload(client),
                },
                right,
                right_first: *last,
            },
        };
        let [x, dout] = [&self.x, &self.dout].map(|values| upload_as(client, values, self.stored));
        (unit, x, dout)
    }

    /// Running statistics of zero.
    pub fn running(&self, client: &Client) -> Vec<Running> {
        let of_layer = |layer: &Layer| zeros(client, layer.gamma.len());
        self.layers().map(of_layer).collect()
    }

    /// The norms of the convolutions with the batch's statistics.
    pub fn norms(&self, client: &Client) -> Vec<Buffer> {
        let norms = self.expected().norms;
        norms.iter().map(|rows| upload(client, rows)).collect()
    }

    /// Output, gradient of the input, and each convolution's five buffers.
    fn run(&self) -> (Buffer, Buffer, Vec<[Buffer; 5]>) {
        let client = client();
        let (unit, x, dout) = self.upload(&client);
        let made = unit.forward(&x, INPUT, &self.running(&client), AT_ONCE);
        let (dx, gradients) = unit.backward(&x, INPUT, &made.saved, &dout);
        assert_eq!(made.running.len(), gradients.len());
        let layers = made
            .running
            .into_iter()
            .zip(gradients)
            .map(|(running, of)| {
                let ConvNormGradient {
                    weight,
                    gamma,
                    beta,
                } = of;
                [running.mean, running.variance, weight, gamma, beta]
            });
        (made.output, dx, layers.collect())
    }

    fn layers(&self) -> impl Iterator<Item = &Layer> {
        let left = match &self.left {
            Left::Passed { .. } => &[],
            Left::Branch { layers, .. } => &layers[..],
        };
        self.right.iter().chain(left)
    }

    fn check(&self) {
        let (out, dx, found) = self.run();
        let expected = self.expected();
        // In bfloat16 a difference in the last bits of a sum makes a few values round to the other neighbour.
        let tolerance = match self.stored {
            Stored::F32 => 1e-5,
            Stored::Bf16 => 1e-3,
        };
        let map = |what, found: &Buffer, expected: &[f64]| {
            let expected = as_stored(expected, self.stored);
            assert_to(tolerance, what, &download(found), &expected, &expected);
        };
        map("out", &out, &expected.out);
        map("dx", &dx, &expected.dx);
        assert_eq!(found.len(), expected.layers.len());
        for (number, (layer, (found, expected))) in self
            .layers()
            .zip(found.iter().zip(&expected.layers))
            .enumerate()
        {
            let found = found.each_ref().map(download);
            let names = ["mean", "variance", "dW", "dgamma", "dbeta"];
            for i in 0..5 {
                let what = format!("{} of convolution {number}", names[i]);
                // The norm after the next convolution removes what the beta of a depthwise convolution adds. So the
                // gradient of this beta is zero except for rounding.
                let scale = if layer.depthwise && i == 4 { 3 } else { i };
                assert_to(tolerance, &what, &found[i], &expected[i], &expected[scale]);
            }
        }
    }
}

/// If the running statistics are those of the batch, inference gives the output of training.
#[test]
fn inference_with_the_batchs_statistics_equals_training() {
    let of_basic = |widths, residual| Case::basic(widths, residual, Stored::F32);
    let cases = [
        basic(false),
        basic(true),
        downsample(false),
        downsample(true),
        // These have more outputs than a workgroup, more channels in the middle than a step of its loop, or more channels
        // passed on than computed.
        of_basic([100, 40, 100], false),
        of_basic([90, 20, 6], true),
        of_basic([24, 24, 24], false),
        Case::downsample([24, 70, 72, 68], false, Stored::F32),
    ];
    let client = client();
    for case in cases {
        let (unit, x, _) = case.upload(&client);
        let expected = case.expected();
        let out = unit.infer(&x, INPUT, &case.norms(&client));
        assert_close("out", &download(&out), &expected.out);
    }
}

/// For each layer the statistics of its convolution's output and the gradients of its parameters.
fn joined(traces: &[Trace], gradients: Vec<[Vec<f64>; 3]>) -> Vec<[Vec<f64>; 5]> {
    let of = |(trace, [dw, dgamma, dbeta]): (&Trace, [Vec<f64>; 3])| {
        let [mean, variance] = statistics(&trace.y, dgamma.len());
        [mean, variance, dw, dgamma, dbeta]
    };
    traces.iter().zip(gradients).map(of).collect()
}

#[test]
fn a_stride_1_unit_with_and_without_residual() {
    basic(false).check();
    basic(true).check();
}

#[test]
fn a_stride_2_unit_in_both_orders() {
    downsample(false).check();
    downsample(true).check();
}

#[test]
fn units_in_bfloat16_round_the_values_that_they_store() {
    for other in [false, true] {
        Case::basic([6, 8, 8], other, Stored::Bf16).check();
        Case::downsample([12, 8, 6, 10], other, Stored::Bf16).check();
    }
}

#[test]
fn two_runs_give_the_same_bits() {
    let narrow = Case::basic([6, 8, 8], true, Stored::Bf16);
    for case in [basic(true), downsample(false), narrow] {
        let run = || {
            let (out, dx, layers) = case.run();
            let layers: Vec<_> = layers.iter().map(|of| bits(of.each_ref())).collect();
            (bits([&out, &dx]), layers)
        };
        assert_eq!(run(), run());
    }
}
