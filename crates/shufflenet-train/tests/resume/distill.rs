//! Tests of resuming a run with a teacher: it has the same bits, and needs the same teacher.

use std::path::{Path, PathBuf};

use crate::exact::check_interruption;
use crate::{last, narrow, refusal, train};
use shufflenet_train::run::Outcome;
use shufflenet_train::run::folder::Existing;

/// A run folder to be used as a teacher, trained for three steps from `seed`.
fn teacher(folder: &Path, name: &str, seed: usize) -> PathBuf {
    let run = folder.join(name);
    let seed = format!("train.seed={seed}");
    let experiment = narrow(folder, &["train.max_steps=3", &seed]);
    train(&experiment, &run, Existing::Refuse, usize::MAX);
    run
}

fn from(teacher: &Path) -> String {
    format!("distill.from={:?}", teacher.display().to_string())
}

#[test]
fn an_interrupted_run_with_a_teacher_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    // The teachers have other normalisations, because each measured its own on the training records of its seed.
    let [one, other] = [1, 2].map(|seed| teacher(folder.path(), &seed.to_string(), seed));
    check_interruption(&[
        &from(&one),
        "train.batch_size=12",
        "train.accumulate=3",
        "data.augmentation={flip=true, mixing={}}",
    ]);
    check_interruption(&[
        &format!(
            "distill.from=[{:?}, {:?}]",
            one.display().to_string(),
            other.display().to_string()
        ),
        "distill.kind=standardized",
        "distill.weight=9",
        "distill.label_weight=0.1",
        "optimizer.learning_rate=0.01",
        "train.precision=bf16",
        "distill.after_epoch=1",
        "train.progressive=[{until_epoch = 2, size = 20}]",
    ]);
}

#[test]
fn another_teacher_is_refused_and_a_moved_teacher_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let [one, other] = [1, 2].map(|seed| teacher(at, &seed.to_string(), seed));
    let student =
        |teacher: &Path, more: &[&str]| narrow(at, &[&[&from(teacher)[..]], more].concat());
    let run = at.join("run");
    let outcome = train(
        &student(&one, &["train.epochs=20"]),
        &run,
        Existing::Refuse,
        2,
    );
    assert!(matches!(outcome, Outcome::Interrupted));
    let sha256 = last(&run).description.teachers_sha256;
    assert_eq!(sha256.len(), 1);

    let line = refusal(&student(&other, &[]), &run);
    let words = format!("distill.from, by its SHA-256, = {}, now it is ", sha256[0]);
    assert!(line.contains(&words), "{line}");
    for (key, words) in [
        ("distill.weight=0.5", "distill.weight = 0.9, now it is 0.5"),
        (
            "distill.temperature=2",
            "distill.temperature = 4.0, now it is 2.0",
        ),
        (
            "distill.kind=standardized",
            "distill.kind = \"kd\", now it is \"standardized\"",
        ),
        (
            "distill.label_weight=1",
            "distill.label_weight = unset, now it is 1.0",
        ),
    ] {
        let line = refusal(&student(&one, &[key]), &run);
        assert!(line.contains(words), "{line}");
    }
    let line = refusal(&narrow(at, &[]), &run);
    assert!(line.contains("now it is unset"), "{line}");

    // The teacher may move to another folder.
    let moved = at.join("moved");
    std::fs::rename(&one, &moved).unwrap();
    let line = refusal(&student(&one, &[]), &run);
    assert!(line.contains("does not exist"), "{line}");
    let outcome = train(
        &student(&moved, &["train.epochs=1"]),
        &run,
        Existing::Resume,
        usize::MAX,
    );
    assert!(matches!(outcome, Outcome::Finished));
    assert_eq!(last(&run).description.teachers_sha256, sha256);
}

#[test]
fn a_teacher_changes_no_bit_with_weight_zero_or_before_its_first_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let teacher = from(&teacher(at, "teacher", 1));
    let weights = |name: &str, more: &[&str]| {
        let run = at.join(name);
        let short = [&["train.max_steps=10"], more].concat();
        train(&narrow(at, &short), &run, Existing::Refuse, usize::MAX);
        last(&run).weights
    };
    let alone = weights("alone", &[]);
    assert!(alone == weights("weightless", &[&teacher, "distill.weight=0"]));
    let taught = weights("taught", &[&teacher]);
    assert!(alone != taught);
    // Each epoch has eight steps.
    let later = weights("later", &[&teacher, "distill.after_epoch=1"]);
    assert!(later != alone && later != taught);
    let [alone, later] = [("alone-8", 0.0), ("later-8", 0.9)].map(|(name, weight)| {
        let weight = format!("distill.weight={weight}");
        let after = "distill.after_epoch=1";
        weights(name, &[&teacher, &weight, after, "train.max_steps=8"])
    });
    assert!(alone == later);
}
