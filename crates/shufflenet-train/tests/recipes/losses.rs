//! Test of cross-entropy with label smoothing, class weights and mixed labels, and of its gradient.

use burn::tensor::{Tensor, TensorData, activation};
use shufflenet_data::{Batch, ImageShape, augmentation::Mix};

use shufflenet_model::cross_entropy_gradient;

use crate::{fixture, test_device, wave};

#[test]
fn losses_and_gradients_equal_pytorchs() {
    let losses = fixture().losses;
    let device = test_device().autodiff();
    let mut worst = 0f64;
    for case in losses.cases {
        let batch = Batch {
            pixels: vec![0.0; 4],
            labels: losses.labels.clone(),
            shape: ImageShape {
                channels: 1,
                height: 1,
                width: 1,
            },
            mix: case.share.map(|share| Mix {
                labels: losses.others.clone(),
                share,
            }),
            share: None,
        };
        let targets = TensorData::new(case.config.targets(&batch, 5), [4, 5]);
        let targets = Tensor::<2>::from_data(targets, &device);
        let factors = targets.clone().inner().neg();
        let values: Vec<f32> = wave(20, 0.5).iter().map(|x| (x * 3.0) as f32).collect();
        let logits = Tensor::<2>::from_data(TensorData::new(values, [4, 5]), &device);
        let logits = logits.require_grad();
        let loss = (activation::log_softmax(logits.clone(), 1) * targets)
            .sum()
            .neg();
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let gradient = logits.grad(&loss.backward()).unwrap().into_data();
        worst = worst.max((value - case.loss).abs());
        let ours = cross_entropy_gradient(logits.inner(), factors).into_data();
        for gradient in [gradient, ours] {
            for (found, expected) in gradient.iter::<f64>().zip(&case.gradient) {
                worst = worst.max((found - expected).abs());
            }
        }
        assert!(
            worst < 1e-6,
            "{:?}, share {:?}: {worst}",
            case.config,
            case.share
        );
    }
    println!("losses and gradients: {worst:.1e} off at most");
}
