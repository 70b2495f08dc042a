//! A run with a teacher: the same bits after an interruption, and which teachers a resumption may have.

use std::path::{Path, PathBuf};

use crate::exact::check_interruption;
use crate::{last, narrow, refusal, train};
use shufflenet_train::run::Outcome;
use shufflenet_train::run::folder::Existing;

/// A run to teach, trained for three steps from this seed.
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
fn so_it_does_with_a_teacher() {
    let folder = tempfile::tempdir().unwrap();
    // Another normalisation, too: the teacher measured its own on the records that its seed left it.
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
        "train.progressive=[{until_epoch = 2, size = 20}]",
    ]);
}

#[test]
fn a_resumption_has_the_teacher_that_the_run_began_with() {
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

    // The same teacher in another place is the same teacher.
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
fn a_teacher_without_weight_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let teacher = from(&teacher(at, "teacher", 1));
    let weights = |name: &str, more: &[&str]| {
        let run = at.join(name);
        let short = [&["train.max_steps=6"], more].concat();
        train(&narrow(at, &short), &run, Existing::Refuse, usize::MAX);
        last(&run).weights
    };
    let alone = weights("alone", &[]);
    assert!(alone == weights("mute", &[&teacher, "distill.weight=0"]));
    assert!(alone != weights("taught", &[&teacher]));
}
