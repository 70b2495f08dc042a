//! Tests of the gradient of the loss.

use shufflenet_gpu::cross_entropy::gradient;

use crate::host::{assert_close, client, download, noise, upload};

#[test]
fn the_gradient_is_the_factors_minus_their_sum_times_the_softmax() {
    let client = client();
    for (images, classes) in [(1, 1), (3, 10), (5, 64), (2, 65), (7, 100), (2, 1000)] {
        // These logits are further from zero than those of any network.
        let logits: Vec<f32> = noise(images * classes, 1)
            .iter()
            .map(|x| 30.0 * x + 50.0)
            .collect();
        let factors = noise(images * classes, 2);
        let mut expected = Vec::new();
        for (z, f) in logits
            .chunks_exact(classes)
            .zip(factors.chunks_exact(classes))
        {
            let most = z.iter().copied().fold(f32::MIN, f32::max);
            let e: Vec<f64> = z.iter().map(|z| f64::from(z - most).exp()).collect();
            let all: f64 = e.iter().sum();
            let sum: f64 = f.iter().map(|f| f64::from(*f)).sum();
            expected.extend(f.iter().zip(&e).map(|(f, e)| f64::from(*f) - sum * e / all));
        }
        let [logits, factors] = [&logits, &factors].map(|values| upload(&client, values));
        let found = download(&gradient(&logits, &factors, classes));
        // With one class the gradient is zero except for rounding.
        if classes > 1 {
            assert_close(&format!("{images} x {classes}"), &found, &expected);
        }
    }
}

#[test]
fn a_nan_among_the_logits_is_kept() {
    let client = client();
    let logits = upload(&client, &[1.0, f32::NAN, 0.5, 1.0, 2.0, 3.0]);
    let factors = upload(&client, &[-0.5; 6]);
    let found = download(&gradient(&logits, &factors, 3));
    assert!(found[..3].iter().any(|x| x.is_nan()), "{found:?}");
    assert!(found[3..].iter().all(|x| x.is_finite()), "{found:?}");
}
