//! Tests of the loss with a teacher and of its gradient, against PyTorch and against the formula.

use burn::tensor::{Tensor, TensorData};
use proptest::prelude::*;
use shufflenet_data::{Batch, ImageShape};
use shufflenet_model::cross_entropy_gradient;
use shufflenet_train::recipe::distill::{Distill, DistillKind, DistillLoss};
use shufflenet_train::recipe::loss::LossConfig;

use crate::{fixture, test_device, wave};

/// `s` of a row of logits, by the formula in the documentation of `Distill`, in float64.
fn scores(kind: DistillKind, row: &[f64]) -> Vec<f64> {
    if kind == DistillKind::Kd {
        return row.to_vec();
    }
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    let squares = row.iter().map(|z| (z - mean).powi(2)).sum::<f64>();
    let deviation = (squares / (row.len() as f64 - 1.0)).sqrt();
    let score = |z: &f64| (z - mean) / (deviation + 1e-7);
    row.iter().map(score).collect()
}

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = row.iter().map(|z| (z - most).exp()).sum::<f64>();
    row.iter().map(|z| z - most - sum.ln()).collect()
}

/// `D` of an image, in float64.
fn divergence(law: DistillLoss, student: &[f64], teacher: &[f64]) -> f64 {
    let soft = |row: &[f64]| {
        let scores = scores(law.kind, row).into_iter();
        log_softmax(&scores.map(|s| s / law.temperature).collect::<Vec<_>>())
    };
    let pairs = soft(teacher).into_iter().zip(soft(student));
    let terms = pairs.map(|(p, q)| p.exp() * (p - q));
    law.temperature.powi(2) * terms.sum::<f64>()
}

fn tensor(values: &[f64], classes: usize) -> Tensor<2> {
    let values: Vec<f32> = values.iter().map(|x| *x as f32).collect();
    let shape = [values.len() / classes, classes];
    Tensor::from_data(TensorData::new(values, shape), &test_device())
}

fn values(tensor: Tensor<2>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Gradient of the sum of `D` over the rows.
fn gradient(law: DistillLoss, student: &[f64], teacher: &[f64], classes: usize) -> Vec<f64> {
    let [student, teacher] = [student, teacher].map(|logits| tensor(logits, classes));
    values(law.gradient(student, law.targets(teacher)))
}

#[test]
fn losses_with_a_teacher_and_their_gradients_equal_pytorchs() {
    let fixture = fixture().distillation;
    let student: Vec<f64> = wave(20, 0.5).iter().map(|x| x * 3.0).collect();
    let teacher: Vec<f64> = wave(20, 2.0).iter().map(|x| x * 5.0 + 1.0).collect();
    let batch = Batch {
        labels: fixture.labels.clone(),
        ..Batch::noise(0, 4, ONE_PIXEL, 5)
    };
    let targets = LossConfig::default().targets(&batch, 5);
    let (mut worst_loss, mut worst) = (0f64, 0f64);
    for case in &fixture.cases {
        let law = case.config.loss();
        let rows = student.chunks(5).zip(teacher.chunks(5));
        let rows = rows.zip(&fixture.labels);
        let losses = rows.map(|((student, teacher), &label)| {
            let own = -log_softmax(student)[usize::from(label)];
            law.label_weight * own + law.weight * divergence(law, student, teacher)
        });
        worst_loss = worst_loss.max((losses.sum::<f64>() / 4.0 - case.loss).abs());

        let factors: Vec<f64> = targets
            .iter()
            .map(|t| -law.label_weight * f64::from(*t))
            .collect();
        let of_labels = values(cross_entropy_gradient(
            tensor(&student, 5),
            tensor(&factors, 5),
        ));
        let of_teacher = gradient(law, &student, &teacher, 5);
        let sums = of_labels.iter().zip(&of_teacher);
        for ((own, taught), expected) in sums.zip(&case.gradient) {
            let found = own + law.weight / 4.0 * taught;
            let error = (found - expected).abs() / law.weight.max(1.0);
            worst = worst.max(error);
        }
        assert!(
            worst_loss < 1e-12 && worst < 1e-6,
            "{law:?}: {worst_loss}, {worst}"
        );
    }
    println!("losses with a teacher: {worst_loss:.1e} off at most, gradients: {worst:.1e}");
}

const ONE_PIXEL: ImageShape = ImageShape {
    channels: 1,
    height: 1,
    width: 1,
};

proptest! {
    /// The gradients are compared with central differences of the loss in float64.
    #[test]
    fn gradients_equal_the_differences_of_the_loss(
        logits in prop::collection::vec(-4f64..4.0, 14),
        temperature in 0.5f64..8.0,
        standardized: bool,
    ) {
        let kind = if standardized { DistillKind::Standardized } else { DistillKind::Kd };
        let law = DistillLoss { kind, temperature, weight: 1.0, label_weight: 0.0 };
        let (student, teacher) = logits.split_at(7);
        let spread = scores(DistillKind::Kd, student);
        let most = spread.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = spread.iter().copied().fold(f64::INFINITY, f64::min);
        // The gradient of a standardisation is unbounded for nearly equal logits.
        prop_assume!(most - least > 0.5);
        let found = gradient(law, student, teacher, 7);
        for class in 0..7 {
            let moved = |by: f64| {
                let mut student = student.to_vec();
                student[class] += by;
                divergence(law, &student, teacher)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let tolerance = 1e-4 * (1.0 + temperature);
            prop_assert!((found[class] - slope).abs() < tolerance, "{law:?}, class {class}: {} {slope}", found[class]);
        }
    }
}

#[test]
fn gradients_are_zero_for_the_teachers_logits_and_finite_for_equal_logits() {
    for kind in [DistillKind::Kd, DistillKind::Standardized] {
        let law = DistillLoss {
            kind,
            temperature: 2.0,
            weight: 1.0,
            label_weight: 0.0,
        };
        let teacher = [0.3, -2.0, 1.5, 4.0];
        let same = gradient(law, &teacher, &teacher, 4);
        assert!(same.iter().all(|slope| slope.abs() < 1e-6), "{same:?}");
        // By design, standardisation ignores the scale of the student's logits.
        let scaled = teacher.map(|logit| 3.0 * logit + 1.0);
        let scaled = gradient(law, &scaled, &teacher, 4);
        let is_zero = scaled.iter().all(|slope| slope.abs() < 1e-6);
        assert_eq!(is_zero, kind == DistillKind::Standardized, "{scaled:?}");
        let equal = gradient(law, &[0.5; 4], &teacher, 4);
        assert!(equal.iter().all(|slope| slope.is_finite()), "{equal:?}");
    }
}

fn refusal(text: &str) -> String {
    let distill: Distill = toml::from_str(text).unwrap();
    distill.check(30).unwrap_err().to_string()
}

#[test]
fn weights_and_temperatures_out_of_range_are_refused() {
    let base = "from = \"runs/teacher\"\n";
    for (text, line) in [
        (
            "temperature = 0.0",
            "distill.temperature is 0; accepted: a number from 0.01 to 1000",
        ),
        ("temperature = -4.0", "distill.temperature is -4;"),
        (
            "weight = -0.1",
            "distill.weight is -0.1; accepted: a number from 0 to 1;",
        ),
        ("weight = 9.0", "more with distill.label_weight"),
        (
            "label_weight = -1.0",
            "distill.label_weight is -1; accepted: a number from 0 to 1000",
        ),
        (
            "after_epoch = 30",
            "distill.after_epoch is 30; accepted: less than train.epochs, 30",
        ),
        (
            "weight = 2000.0\nlabel_weight = 1.0",
            "distill.weight is 2000; accepted: a number from 0 to 1000",
        ),
    ] {
        let refused = refusal(&format!("{base}{text}"));
        assert!(refused.contains(line), "{refused}");
    }
    assert!(refusal("from = []").contains("distill.from is []"));
    let suns: Distill = toml::from_str(&format!(
        "{base}kind = \"standardized\"\ntemperature = 2.0\nweight = 9.0\nlabel_weight = 0.1"
    ))
    .unwrap();
    suns.check(1).unwrap();
    let words = "standardized, temperature 2, loss 0.1 by the labels and 9 by the teacher";
    assert_eq!(suns.to_string(), words);
    let later = Distill {
        after_epoch: 6,
        ..suns.clone()
    };
    later.check(7).unwrap();
    assert_eq!(later.to_string(), format!("{words}, after epoch 6"));
    // Of two standardised logits one is always 1 and the other -1.
    let line = suns.check_classes(2).unwrap_err().to_string();
    assert!(
        line.contains("distill.kind is \"standardized\", for 2 classes"),
        "{line}"
    );
    suns.check_classes(3).unwrap();
}

#[test]
fn one_teacher_is_a_path_and_several_are_a_list() {
    for text in ["from = \"a\"\n", "from = [\"a\", \"b\"]\n"] {
        let distill: Distill = toml::from_str(text).unwrap();
        let again = toml::to_string(&distill).unwrap();
        assert!(again.starts_with(text), "{again}");
        assert_eq!(toml::from_str::<Distill>(&again).unwrap(), distill);
    }
    let refused = toml::from_str::<Distill>("from = 3")
        .unwrap_err()
        .to_string();
    assert!(refused.contains("a path or a list of paths"), "{refused}");
}
