//! Tests of the head, forward and backward.

use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::head;
use shufflenet_gpu::pointwise::Columns;

use crate::host::{
    AT_ONCE, Norm, assert_close, at_once, bits, client, columns, download, noise, product,
    product_backward, relu, statistics, upload,
};

const EPSILON: f64 = 1e-5;

/// A head on some channels of a map.
#[derive(Clone, Copy)]
struct Case {
    images: usize,
    /// Pixels of each image.
    pixels: usize,
    row: usize,
    first: usize,
    inputs: usize,
    outputs: usize,
}

/// The inputs of a case.
struct Given {
    x: Vec<f32>,
    weight: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    dout: Vec<f32>,
}

impl Case {
    fn given(&self) -> Given {
        Given {
            x: noise(self.images * self.pixels * self.row, 1),
            weight: noise(self.outputs * self.inputs, 2),
            gamma: noise(self.outputs, 3),
            beta: noise(self.outputs, 4),
            dout: noise(self.images * self.outputs, 5),
        }
    }

    /// Output, statistics, and the gradients of input, weight, gamma and beta.
    fn expected(&self, given: &Given) -> [Vec<f64>; 7] {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let x = columns(&given.x, self.row, self.first, inputs);
        let y = product(&x, &given.weight, inputs);
        let norm = Norm::of(&y, &given.gamma, &given.beta, EPSILON);
        let z = relu(&norm.apply(&y));
        let mut out = vec![0.0; self.images * outputs];
        let mut g = vec![0.0; z.len()];
        for (i, z) in z.iter().enumerate() {
            let of_image = i / outputs / self.pixels * outputs + i % outputs;
            out[of_image] += z / self.pixels as f64;
            if *z > 0.0 {
                g[i] = f64::from(given.dout[of_image]) / self.pixels as f64;
            }
        }
        let [dy, dgamma, dbeta] = norm.backward(&y, &g);
        let [dx, dw] = product_backward(&dy, &x, &given.weight, inputs);
        let [mean, variance] = statistics(&y, outputs);
        [out, mean, variance, dx, dw, dgamma, dbeta]
    }

    fn run(&self, given: &Given) -> [Buffer; 7] {
        let client = client();
        let [data, weight, gamma, beta, dout] = [
            &given.x,
            &given.weight,
            &given.gamma,
            &given.beta,
            &given.dout,
        ]
        .map(|values| upload(&client, values));
        let x = Columns {
            data,
            row: self.row,
            first: self.first,
        };
        let (conv, before) = at_once([&weight, &gamma, &beta]);
        let size = [self.images, self.pixels];
        let (out, running, saved) = head::forward(&x, size, &conv, &before, AT_ONCE);
        let (dx, gradients) = head::backward(&x, size, &weight, &saved, &dout);
        [
            out,
            running[0].mean.clone(),
            running[0].variance.clone(),
            dx,
            gradients.weight,
            gradients.gamma,
            gradients.beta,
        ]
    }

    fn check(&self) {
        let given = self.given();
        let [out, mean, variance, dx, dw, dgamma, dbeta] =
            self.run(&given).each_ref().map(download);
        let expected = self.expected(&given);
        assert_close("out", &out, &expected[0]);
        assert_close("mean", &mean, &expected[1]);
        assert_close("variance", &variance, &expected[2]);
        assert_close("dx", &dx, &expected[3]);
        assert_close("dw", &dw, &expected[4]);
        assert_close("dgamma", &dgamma, &expected[5]);
        assert_close("dbeta", &dbeta, &expected[6]);
    }
}

fn case([images, pixels]: [usize; 2], [row, first, inputs, outputs]: [usize; 4]) -> Case {
    Case {
        images,
        pixels,
        row,
        first,
        inputs,
        outputs,
    }
}

#[test]
fn the_width_of_a_published_network() {
    case([3, 49], [192, 0, 192, 1024]).check();
}

#[test]
fn more_values_of_the_weight_than_workgroups_in_one_dimension() {
    case([5, 3], [704, 0, 704, 1024]).check();
}

#[test]
fn odd_widths_and_channels_in_the_middle_of_a_map() {
    case([5, 7], [13, 6, 7, 5]).check();
    case([17, 1], [13, 6, 7, 5]).check();
}

#[test]
fn more_tiles_than_rows_of_workgroups() {
    case([1031, 65], [8, 0, 8, 8]).check();
}

#[test]
fn a_nan_is_kept() {
    let case = case([5, 7], [13, 6, 7, 5]);
    let mut given = case.given();
    given.x[6] = f32::NAN;
    // The NaN is in the mean of each channel. So every result is NaN, except the sum of the output's gradient.
    let [out, mean, variance, dx, dw, dgamma, dbeta] = case.run(&given).each_ref().map(download);
    for found in [&out, &mean, &variance, &dx, &dw, &dgamma] {
        assert!(found.iter().all(|x| x.is_nan()), "{found:?}");
    }
    assert!(dbeta.iter().all(|x| x.is_finite()), "{dbeta:?}");
}

#[test]
fn two_runs_give_the_same_bits() {
    let case = case([1031, 65], [8, 0, 8, 8]);
    let given = case.given();
    let run = || bits(case.run(&given).each_ref());
    assert_eq!(run(), run());
}
