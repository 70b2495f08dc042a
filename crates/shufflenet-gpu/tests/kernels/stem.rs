//! Tests of the stem, forward and backward.

use shufflenet_gpu::buffer::Buffer;
use shufflenet_gpu::stem::{self, Stem};
use shufflenet_gpu::stem_gradient;
use shufflenet_gpu::stored::Stored;

use crate::host::{
    AT_ONCE, Norm, assert_close, at_once, bits, client, download, noise, relu, statistics, upload,
    widened,
};

const EPSILON: f64 = 1e-5;

/// The inputs of a stem.
struct Given {
    at: Stem,
    images: Vec<f32>,
    weight: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    dout: Vec<f32>,
}

fn given(
    [images, height, width]: [usize; 3],
    [channels, outputs, stride]: [usize; 3],
    pool: Option<usize>,
) -> Given {
    let at = Stem {
        images,
        channels,
        height,
        width,
        stride,
        pool,
        stored: Stored::F32,
    };
    Given {
        at,
        images: noise(images * channels * height * width, 1),
        weight: noise(outputs * channels * 9, 2),
        gamma: noise(outputs, 3),
        beta: noise(outputs, 4),
        dout: noise(at.output().iter().product::<usize>() * outputs, 5),
    }
}

/// Calls `with(pixel of the output, position in its window, index in the images)` for each value of each window.
fn windows(at: &Stem, mut with: impl FnMut(usize, usize, usize)) {
    let [images, rows, places] = at.convolved();
    for pixel in 0..images * rows * places {
        let (j, i, image) = (pixel % places, pixel / places % rows, pixel / places / rows);
        for value in 0..9 * at.channels {
            let (row, place) = (i * at.stride + value % 9 / 3, j * at.stride + value % 3);
            if (1..=at.height).contains(&row) && (1..=at.width).contains(&place) {
                let plane = image * at.channels + value / 9;
                let from = (plane * at.height + row - 1) * at.width + place - 1;
                with(pixel, value, from);
            }
        }
    }
}

/// The index in `z`, `[images, height, width, channels]`, of the maximum of each window.
fn maxima(z: &[f64], at: &Stem, padding: usize, channels: usize) -> Vec<usize> {
    let [_, height, width] = at.convolved();
    let [images, rows, places] = at.output();
    let of = |n: usize| {
        let (c, j, i) = (
            n % channels,
            n / channels % places,
            n / channels / places % rows,
        );
        let image = n / channels / places / rows;
        let inside = (0..9).filter_map(|tap| {
            let row = (2 * i + tap / 3)
                .checked_sub(padding)
                .filter(|row| *row < height)?;
            let place = (2 * j + tap % 3)
                .checked_sub(padding)
                .filter(|place| *place < width)?;
            Some(((image * height + row) * width + place) * channels + c)
        });
        inside
            .reduce(|most, other| if z[other] > z[most] { other } else { most })
            .unwrap()
    };
    (0..images * rows * places * channels).map(of).collect()
}

impl Given {
    /// Output, statistics, and the gradients of weight, gamma, beta and images.
    fn expected(&self) -> [Vec<f64>; 7] {
        let (at, outputs, inner) = (&self.at, self.gamma.len(), 9 * self.at.channels);
        let images = widened(&self.images);
        let weight = widened(&self.weight);
        let mut y = vec![0.0; at.convolved().iter().product::<usize>() * outputs];
        windows(at, |pixel, value, from| {
            for o in 0..outputs {
                y[pixel * outputs + o] += weight[o * inner + value] * images[from];
            }
        });
        let norm = Norm::of(&y, &self.gamma, &self.beta, EPSILON);
        let z = relu(&norm.apply(&y));
        let from = match at.pool {
            Some(padding) => maxima(&z, at, padding, outputs),
            None => (0..z.len()).collect(),
        };
        let out = from.iter().map(|from| z[*from]).collect();
        let mut g = vec![0.0; z.len()];
        for (from, dout) in from.iter().zip(&self.dout) {
            if z[*from] > 0.0 {
                g[*from] += f64::from(*dout);
            }
        }
        let [dy, dgamma, dbeta] = norm.backward(&y, &g);
        let mut dw = vec![0.0; weight.len()];
        let mut dimages = vec![0.0; images.len()];
        windows(at, |pixel, value, from| {
            for o in 0..outputs {
                let dy = dy[pixel * outputs + o];
                dw[o * inner + value] += dy * images[from];
                dimages[from] += dy * weight[o * inner + value];
            }
        });
        let [mean, variance] = statistics(&y, outputs);
        [out, mean, variance, dw, dgamma, dbeta, dimages]
    }

    fn run(&self) -> [Buffer; 7] {
        let client = client();
        let [images, weight, gamma, beta, dout] = [
            &self.images,
            &self.weight,
            &self.gamma,
            &self.beta,
            &self.dout,
        ]
        .map(|values| upload(&client, values));
        let (conv, before) = at_once([&weight, &gamma, &beta]);
        let (out, running, saved) = stem::forward(&images, &self.at, &conv, &before, AT_ONCE);
        let (gradients, dimages) =
            stem_gradient::backward(&images, &self.at, Some(&weight), &saved, &dout);
        [
            out,
            running[0].mean.clone(),
            running[0].variance.clone(),
            gradients.weight,
            gradients.gamma,
            gradients.beta,
            dimages.unwrap(),
        ]
    }

    fn check(&self) {
        let [out, mean, variance, dw, dgamma, dbeta, dimages] = self.run().each_ref().map(download);
        let expected = self.expected();
        assert_close("out", &out, &expected[0]);
        assert_close("mean", &mean, &expected[1]);
        assert_close("variance", &variance, &expected[2]);
        assert_close("dw", &dw, &expected[3]);
        assert_close("dgamma", &dgamma, &expected[4]);
        assert_close("dbeta", &dbeta, &expected[5]);
        assert_close("dimages", &dimages, &expected[6]);
    }
}

#[test]
fn stems_of_the_published_networks() {
    // The first two stems are for small images, the others for large ones.
    given([3, 8, 8], [3, 24, 1], None).check();
    given([3, 9, 7], [3, 24, 1], None).check();
    given([2, 18, 16], [3, 24, 2], Some(1)).check();
    given([3, 13, 11], [3, 24, 2], Some(1)).check();
}

#[test]
fn odd_sizes_and_widths() {
    for size in [[5, 8, 9], [1, 3, 3], [2, 4, 13]] {
        given(size, [1, 8, 1], Some(0)).check();
        given(size, [1, 5, 1], Some(1)).check();
    }
    for size in [[5, 9, 4], [3, 1, 7], [7, 2, 1]] {
        given(size, [3, 5, 2], None).check();
    }
}

#[test]
fn more_channels_than_a_unit_sums_and_two_blocks_of_outputs() {
    given([2, 11, 13], [5, 72, 2], Some(0)).check();
}

#[test]
fn more_tiles_than_rows_of_workgroups() {
    given([23, 57, 61], [1, 8, 1], Some(0)).check();
}

#[test]
fn a_nan_is_kept() {
    for pool in [None, Some(0)] {
        let mut given = given([2, 5, 7], [1, 8, 1], pool);
        given.images[17] = f32::NAN;
        // The NaN is in the mean of each channel. So every result is NaN, except the sum of the output's gradient.
        let [out, mean, variance, dw, dgamma, dbeta, dimages] =
            given.run().each_ref().map(download);
        for found in [&out, &mean, &variance, &dw, &dgamma, &dimages] {
            assert!(found.iter().all(|x| x.is_nan()), "{found:?}");
        }
        assert!(dbeta.iter().all(|x| x.is_finite()), "{dbeta:?}");
    }
}

#[test]
fn two_runs_give_the_same_bits() {
    let given = given([7, 13, 11], [3, 24, 2], Some(1));
    let run = || bits(given.run().each_ref());
    assert_eq!(run(), run());
}
