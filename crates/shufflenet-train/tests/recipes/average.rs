//! Test of the moving average of the weights against its formula.

use shufflenet_model::ShuffleNetV2;
use shufflenet_train::recipe::average::follow;

use crate::optimizers::{model, weights};
use crate::test_device;

#[test]
fn the_average_of_every_parameter_and_statistic_follows_the_network() {
    let device = test_device();
    let networks = [1, 2, 3].map(|seed| ShuffleNetV2::new(&model(), seed, &device).unwrap());
    let [mut expected, second, third] = networks.each_ref().map(weights);
    let [mut average, ..] = networks.clone();
    for (network, values) in networks[1..].iter().zip([second, third]) {
        average = follow(average, network, 0.75);
        for (name, expected) in &mut expected {
            for (x, value) in expected.iter_mut().zip(&values[name]) {
                *x = 0.75 * *x + 0.25 * value;
            }
        }
    }
    let found = weights(&average);
    assert_eq!(found.len(), expected.len());
    for (name, expected) in expected {
        for (found, expected) in found[&name].iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6, "{name}");
        }
    }
}
