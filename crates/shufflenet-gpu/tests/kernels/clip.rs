//! Tests of clipping a gradient by its norm.

use shufflenet_gpu::clip::clip;

use crate::host::{assert_close, client, download, noise, upload};

#[test]
fn a_tensor_is_scaled_down_to_the_norm() {
    let client = client();
    for len in [1, 255, 257, 70_001] {
        let x = noise(len, 3);
        let norm = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let found = download(&clip(&upload(&client, &x), 0.5 * norm));
        let factor = 0.5 * norm / (norm + 1e-6);
        let expected: Vec<f64> = x.iter().map(|x| f64::from(*x) * factor).collect();
        assert_close(&len.to_string(), &found, &expected);
    }
}

#[test]
fn a_smaller_norm_changes_no_bit_and_a_nan_is_kept() {
    let client = client();
    let mut x = noise(1000, 4);
    assert_eq!(download(&clip(&upload(&client, &x), 1e3)), x);
    x[7] = f32::NAN;
    let found = download(&clip(&upload(&client, &x), 1e3));
    assert!(found.iter().any(|x| x.is_nan()));
}
