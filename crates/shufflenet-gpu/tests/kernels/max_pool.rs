//! Tests of the places of max pooling's maxima and of their gradients, with equal values and NaN. The tests of the stem
//! cover the rest.

use shufflenet_gpu::max_pool::max_pool;
use shufflenet_gpu::relu_gradient::{Behind, relu_gradient};

use crate::host::{client, download, upload};

/// A norm of one channel that changes nothing: mean 0, scale 1, beta 0, 1 / standard deviation 1.
const IDENTITY: [f32; 4] = [0.0, 1.0, 0.0, 1.0];

/// The pooled map of a 4 x 4 image, the places, and the gradient of the image if that of the pooled map is 1, 2, 3, 4.
fn pooled(y: [f32; 16]) -> [Vec<f32>; 3] {
    let client = client();
    let [y, norm, dout] =
        [&y[..], &IDENTITY, &[1.0, 2.0, 3.0, 4.0]].map(|values| upload(&client, values));
    let (out, places) = max_pool(&y, &norm, [1, 4, 4], 1);
    let behind = Behind::Pool {
        places: &places,
        padding: 1,
    };
    let (g, _) = relu_gradient(&dout, &behind, [1, 4, 4], &y, &norm);
    [&out, &places, &g].map(download)
}

fn numbers(places: &[f32]) -> Vec<u32> {
    places.iter().map(|place| place.to_bits()).collect()
}

#[test]
fn the_first_of_equal_values_is_the_maximum() {
    let [out, places, g] = pooled([1.0; 16]);
    assert_eq!(out, [1.0; 4]);
    // The maximum is at the first place of each window that is inside the map.
    assert_eq!(numbers(&places), [4, 3, 1, 0]);
    let mut expected = [0.0; 16];
    [expected[0], expected[1], expected[4], expected[5]] = [1.0, 2.0, 3.0, 4.0];
    assert_eq!(g, expected);
}

#[test]
fn the_gradients_of_all_windows_of_a_maximum_are_added() {
    let mut y = [-1.0; 16];
    y[5] = 2.0;
    let [out, places, g] = pooled(y);
    assert_eq!(out, [2.0; 4]);
    assert_eq!(numbers(&places), [8, 6, 2, 0]);
    let mut expected = [0.0; 16];
    expected[5] = 10.0;
    assert_eq!(g, expected);
}

#[test]
fn a_map_without_positive_values_gets_no_gradient() {
    let [out, _, g] = pooled([-1.0; 16]);
    assert_eq!(out, [0.0; 4]);
    assert!(out.iter().all(|x| x.is_sign_positive()), "{out:?}");
    assert_eq!(g, [0.0; 16]);
}

#[test]
fn a_nan_is_the_maximum_and_takes_the_gradient() {
    for nan in [f32::NAN, -f32::NAN] {
        let mut y: [f32; 16] = std::array::from_fn(|i| i as f32);
        y[15] = f32::INFINITY;
        y[10] = nan;
        let [out, places, g] = pooled(y);
        assert_eq!(out[..3], [5.0, 7.0, 13.0]);
        assert!(out[3].is_nan(), "{out:?}");
        assert_eq!(numbers(&places), [8, 8, 8, 4]);
        assert_eq!(g[10], 4.0);
        assert_eq!(g[15], 0.0);
    }
}
