//! Tests of the backward of the depthwise convolution.

use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::depthwise_gradient;
use shufflenet_gpu::gradient_sums::Gradient;
use shufflenet_gpu::norm::Reading;
use shufflenet_gpu::pointwise::Columns;

use crate::host::{
    Norm, arena, assert_close, bits, client, columns, depthwise_backward, download, noise, relu,
    upload,
};

const EPSILON: f64 = 1e-5;

/// A convolution on some channels of a map.
#[derive(Clone, Copy)]
struct Case {
    shape: [usize; 3],
    stride: usize,
    row: usize,
    first: usize,
    channels: usize,
    reading: Reading,
}

/// The inputs of a case: `x`, its norm, the weight, `g`, `y` and the factors.
struct Given {
    x: Vec<f32>,
    norm: Norm,
    weight: Vec<f32>,
    g: Vec<f32>,
    y: Vec<f32>,
    factors: Vec<f32>,
}

impl Case {
    fn outputs(&self) -> [usize; 2] {
        [self.shape[1], self.shape[2]].map(|side| side.div_ceil(self.stride))
    }

    fn given(&self) -> Given {
        let [rows, places] = self.outputs();
        let outputs = self.shape[0] * rows * places * self.channels;
        let x = noise(self.shape.iter().product::<usize>() * self.row, 1);
        let [gamma, beta] = [2, 3].map(|seed| noise(self.channels, seed));
        let read = columns(&x, self.row, self.first, self.channels);
        Given {
            norm: Norm::of(&read, &gamma, &beta, EPSILON),
            x,
            weight: noise(self.channels * 9, 4),
            g: noise(outputs, 5),
            y: noise(outputs, 6),
            factors: noise(4 * self.channels, 7),
        }
    }

    /// The gradient of the input (or of the output of the norm that it was read by), and that of the weight.
    fn expected(&self, given: &Given) -> [Vec<f64>; 2] {
        let channels = self.channels;
        let factor = |row: usize, c: usize| f64::from(given.factors[row * channels + c]);
        let dy = |at: usize| {
            let c = at % channels;
            factor(1, c) * f64::from(given.g[at])
                + factor(2, c) * (f64::from(given.y[at]) - factor(0, c))
                + factor(3, c)
        };
        let dy: Vec<f64> = (0..given.g.len()).map(dy).collect();
        let x = columns(&given.x, self.row, self.first, channels);
        let z = match self.reading {
            Reading::Plain => x,
            Reading::Norm => given.norm.apply(&x),
            Reading::NormRelu => relu(&given.norm.apply(&x)),
        };
        let [mut dz, dw] = depthwise_backward(&dy, &z, self.shape, self.stride, &given.weight);
        if matches!(self.reading, Reading::NormRelu) {
            dz.iter_mut()
                .zip(&z)
                .filter(|(_, z)| **z <= 0.0)
                .for_each(|(dz, _)| *dz = 0.0);
        }
        [dz, dw]
    }

    /// The gradients of [`Self::expected`], and those of beta and gamma of the norm that the input was read by.
    fn run(&self, given: &Given) -> [Buffer; 4] {
        let client = client();
        let norm = upload(&client, &given.norm.rows());
        let [x, weight, g, y, factors] =
            [&given.x, &given.weight, &given.g, &given.y, &given.factors]
                .map(|values| upload(&client, values));
        let x = Columns {
            data: x,
            row: self.row,
            first: self.first,
        };
        let behind = Gradient {
            g: &g,
            y: &y,
            factors: &factors,
        };
        let with = (!matches!(self.reading, Reading::Plain)).then_some((&norm, self.reading));
        let found =
            depthwise_gradient::backward(&behind, &weight, &x, self.shape, self.stride, with);
        let pixels = self.shape.iter().product();
        let (made, weight) = found
            .sums
            .finish_with(&norm, pixels, &found.weight, &arena(&client));
        assert_eq!(
            bits([&weight]),
            bits([&found.weight.sum(&arena(&client))]),
            "the two ways of adding differ"
        );
        [found.g, weight, made.beta, made.gamma]
    }

    fn check(&self) {
        let given = self.given();
        let [dz, dw] = self.expected(&given);
        let [g, weight, beta, gamma] = self.run(&given).each_ref().map(download);
        assert_close("g", &g, &dz);
        assert_close("dw", &weight, &dw);
        if matches!(self.reading, Reading::Plain) {
            return;
        }
        let x = columns(&given.x, self.row, self.first, self.channels);
        let [_, dgamma, dbeta] = given.norm.backward(&x, &dz);
        assert_close("dbeta", &beta, &dbeta);
        assert_close("dgamma", &gamma, &dgamma);
    }
}

fn case(shape: [usize; 3], stride: usize, map: [usize; 3], reading: Reading) -> Case {
    let [row, first, channels] = map;
    Case {
        shape,
        stride,
        row,
        first,
        channels,
        reading,
    }
}

#[test]
fn widths_of_the_published_networks() {
    for channels in [24, 58] {
        for stride in [1, 2] {
            case(
                [2, 8, 8],
                stride,
                [channels, 0, channels],
                Reading::NormRelu,
            )
            .check();
        }
    }
}

#[test]
fn odd_sizes_and_a_branch_in_the_middle_of_a_map() {
    for stride in [1, 2] {
        for shape in [[3, 5, 7], [1, 9, 2], [5, 1, 3], [2, 6, 13]] {
            // No published network has these odd widths, so one kind of reading per stride is enough.
            let reading = match stride {
                1 => Reading::Norm,
                _ => Reading::NormRelu,
            };
            case(shape, stride, [13, 6, 7], reading).check();
            case(shape, stride, [116, 58, 58], Reading::NormRelu).check();
            case(shape, stride, [13, 1, 8], Reading::Plain).check();
        }
        case([3, 1, 1], stride, [1, 0, 1], Reading::Plain).check();
    }
}

#[test]
fn more_tiles_than_rows_of_workgroups() {
    for stride in [1, 2] {
        case([17, 57, 61], stride, [32, 0, 32], Reading::NormRelu).check();
    }
}

#[test]
fn a_nan_passes_the_relu() {
    let case = case([1, 4, 4], 1, [4, 0, 4], Reading::NormRelu);
    let mut given = case.given();
    let pixel = 5 * 4;
    given.x[pixel] = f32::NAN;
    given.g[pixel] = f32::NAN;
    assert!(download(&case.run(&given)[0])[pixel].is_nan());
}

#[test]
fn two_runs_give_the_same_bits() {
    for stride in [1, 2] {
        let case = case([7, 13, 11], stride, [24, 0, 24], Reading::NormRelu);
        let given = case.given();
        let run = || bits(case.run(&given).each_ref());
        assert_eq!(run(), run());
    }
}
