//! Tests of one optimizer step against its formula: accumulation over several batches, teachers, the moving average,
//! and the guard against infinite gradients.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod noise;

use std::collections::BTreeMap;
use std::rc::Rc;

use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;
use shufflenet_model::{Inference, ModelConfig, Precision, ShuffleNetV2, Stem, to_safetensors};
use shufflenet_train::TrainError;
use shufflenet_train::recipe::distill::{DistillKind, DistillLoss};
use shufflenet_train::recipe::optimizer::OptimizerConfig;
use shufflenet_train::step::classifier::{MicroBatch, pixels};
use shufflenet_train::step::learner::{Learner, LearnerConfig};
use shufflenet_train::step::teacher::{Member, Teacher};

use noise::batch;

/// A learner with plain gradient descent: a step moves the weights by the rate times the gradient.
fn learner(average_decay: Option<f64>) -> Learner {
    let model = ModelConfig {
        stem: Some(Stem::Cifar),
        widths: Some([8, 16, 24, 32, 48].into()),
        repeats: vec![1, 1, 1],
        ..ModelConfig::default()
    };
    let optimizer = OptimizerConfig {
        momentum: 0.0,
        nesterov: false,
        weight_decay: 0.0,
        ..OptimizerConfig::default()
    };
    let config = LearnerConfig {
        average_decay,
        ..optimizer.into()
    };
    Learner::fresh(&model, config, 1, &Device::flex()).unwrap()
}

type Tensors = BTreeMap<String, Vec<f32>>;

fn tensors(network: &ShuffleNetV2) -> Tensors {
    let file = to_safetensors(network).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let values = |bytes: &[u8]| {
        let (chunks, _) = bytes.as_chunks::<4>();
        chunks.iter().map(|x| f32::from_le_bytes(*x)).collect()
    };
    let tensors = file.iter();
    tensors
        .map(|(name, view)| (name.into(), values(view.data())))
        .collect()
}

/// The weights after one step, without running statistics.
fn stepped(parts: Vec<MicroBatch>) -> Tensors {
    let mut learner = learner(None);
    learner.step(parts.into_iter().map(Ok), 0.1).unwrap();
    let mut tensors = tensors(&learner.classifier.network);
    tensors.retain(|name, _| !name.contains("running_"));
    tensors
}

fn part(salt: u32, images: usize, share: f64) -> MicroBatch {
    MicroBatch {
        share,
        ..batch(salt, images, 16).into()
    }
}

#[test]
fn gradients_are_means_over_all_images_of_a_step() {
    // The same half twice gives the step of that half.
    let halves = stepped(vec![part(1, 8, 0.5), part(1, 8, 0.5)]);
    assert_eq!(halves, stepped(vec![part(1, 8, 1.0)]));

    // Parts of different size: the step is the mean of the parts' steps, weighted by their shares of the images.
    let before = stepped(vec![part(1, 6, 0.0)]);
    let (first, second) = (
        stepped(vec![part(1, 6, 1.0)]),
        stepped(vec![part(2, 2, 1.0)]),
    );
    let both = stepped(vec![part(1, 6, 0.75), part(2, 2, 0.25)]);
    let mut largest = 0f32;
    for (name, values) in &both {
        for (i, value) in values.iter().enumerate() {
            let start = before[name][i];
            let expected = 0.75 * (first[name][i] - start) + 0.25 * (second[name][i] - start);
            largest = largest.max((value - start).abs());
            let error = (value - start - expected).abs();
            assert!(error < 1e-6, "{name}[{i}] has an error of {error}");
        }
    }
    assert!(largest > 1e-2, "the weights hardly changed: {largest}");
}

/// The loss of the teacher alone, without that of the labels.
const LAW: DistillLoss = DistillLoss {
    kind: DistillKind::Standardized,
    temperature: 2.0,
    weight: 1.0,
    label_weight: 0.0,
};

/// A teacher's network with initial weights from `seed`, and with another stem and other widths than the student's.
fn member(seed: u64) -> Member {
    let model = ModelConfig {
        stem: Some(Stem::Imagenet),
        widths: Some([8, 20, 24, 40, 64].into()),
        repeats: vec![1, 0, 2],
        ..ModelConfig::default()
    };
    Member {
        network: Inference::new(&ShuffleNetV2::new(&model, seed, &Device::flex()).unwrap()),
        conversion: None,
    }
}

fn teacher(seeds: &[u64]) -> Teacher {
    Teacher::new(seeds.iter().map(|&seed| member(seed)).collect(), 10, LAW)
}

#[test]
fn several_teachers_teach_the_mean_of_their_logits() {
    let images = pixels(batch(1, 3, 16), &Device::flex());
    let logits = |seeds: &[u64]| -> Vec<f32> {
        let data = teacher(seeds).logits(&images).into_data();
        data.iter::<f32>().collect()
    };
    let (one, other, both) = (logits(&[1]), logits(&[2]), logits(&[1, 2]));
    assert_eq!(one, logits(&[1, 1]));
    for ((one, other), both) in one.iter().zip(&other).zip(&both) {
        assert_eq!((one + other) / 2.0, *both);
    }
}

#[test]
fn pixels_are_converted_to_the_normalisation_of_the_teacher() {
    let images = pixels(batch(1, 3, 16), &Device::flex());
    let [factor, term] =
        [2.0, -0.5].map(|value| Tensor::<4>::full([1, 3, 1, 1], value, &Device::flex()));
    let seen = teacher(&[1]).logits(&(images.clone() * 2.0 - 0.5));
    let converting = Member {
        conversion: Some([factor, term]),
        ..member(1)
    };
    let converting = Teacher::new(vec![converting], 10, LAW);
    let found = converting.logits(&images).into_data();
    assert_eq!(found, seen.into_data());
}

#[test]
fn gradients_with_a_teacher_are_means_over_all_images_of_a_step() {
    let teacher = Rc::new(teacher(&[3]));
    let taught = |images: u32, share: f64, salt: u32| MicroBatch {
        teacher: Some(teacher.clone()),
        ..part(salt, images as usize, share)
    };
    let halves = stepped(vec![taught(8, 0.5, 1), taught(8, 0.5, 1)]);
    assert_eq!(halves, stepped(vec![taught(8, 1.0, 1)]));
    assert_ne!(
        halves,
        stepped(vec![part(1, 8, 1.0)]),
        "the teacher changes nothing"
    );

    // After many steps on the same images the student predicts the teacher's classes.
    let mut learner = learner(None);
    let agreement = |learner: &Learner| {
        let images = pixels(batch(1, 8, 16), &Device::flex());
        let student = Inference::new(&learner.classifier.network).forward(images.clone());
        let [student, teacher] = [student, teacher.logits(&images)].map(|logits| logits.argmax(1));
        student.equal(teacher).int().sum().into_scalar::<i64>()
    };
    let before = agreement(&learner);
    for _ in 0..60 {
        learner.step([Ok(taught(8, 1.0, 1))], 0.1).unwrap();
    }
    assert!(agreement(&learner) > before.max(6), "{before}");
}

#[test]
fn the_average_follows_weights_and_statistics_from_the_first_step_on() {
    let mut learner = learner(Some(0.75));
    let mut expected = Tensors::new();
    for step in 0..4 {
        learner.step([Ok(batch(step, 8, 16).into())], 0.1).unwrap();
        let weights = tensors(&learner.classifier.network);
        if step == 0 {
            expected = weights;
            continue;
        }
        for (name, average) in &mut expected {
            for (average, weight) in average.iter_mut().zip(&weights[name]) {
                *average = 0.75 * *average + 0.25 * weight;
            }
        }
    }
    let average = tensors(learner.average.as_ref().unwrap());
    let moved = tensors(&learner.classifier.network);
    for (name, values) in &average {
        for (found, expected) in values.iter().zip(&expected[name]) {
            assert!(
                (found - expected).abs() < 1e-6,
                "{name}: {found}, not {expected}"
            );
        }
    }
    for name in ["conv1.0.weight", "conv1.1.running_mean", "fc.bias"] {
        assert_ne!(average[name], moved[name], "{name} is not averaged");
    }
}

#[test]
fn an_infinite_gradient_is_an_error_and_changes_no_weight() {
    let mut learner = learner(Some(0.5));
    let before = tensors(&learner.classifier.network);
    // The loss is finite, but its gradient is not.
    let outcome = learner.step([Ok(part(1, 4, f64::INFINITY))], 0.1);
    let Err(TrainError::Diverged(divergence)) = outcome else {
        panic!("an infinite gradient was accepted");
    };
    assert_eq!(divergence.what, "a gradient");
    let after = tensors(&learner.classifier.network);
    for (name, values) in before {
        let is_weight = !name.contains("running_");
        assert!(!is_weight || values == after[&name], "{name} has changed");
    }
    assert!(learner.average.is_none());
}

/// The loss of each of 30 steps on the same images.
fn losses(precision: Precision) -> Vec<f64> {
    let model = learner(None).classifier.network.config().clone();
    let config = LearnerConfig {
        precision,
        ..OptimizerConfig::default().into()
    };
    let mut learner = Learner::fresh(&model, config, 1, &Device::flex()).unwrap();
    let loss = |_| {
        let tally = learner.step([Ok(batch(1, 64, 16).into())], 0.05).unwrap();
        tally.loss / tally.count as f64
    };
    (0..30).map(loss).collect()
}

#[test]
fn the_loss_falls_in_bfloat16_as_in_float32() {
    let [wide, narrow] = [Precision::F32, Precision::Bf16].map(losses);
    // The first losses have the same weights, so they differ only by rounding.
    let first = (narrow[0] - wide[0]).abs();
    assert!(0.0 < first && first < 0.02, "{first}");
    for losses in [&wide, &narrow] {
        assert!(losses[29] < 0.7 * losses[0], "{losses:?}");
    }
}
