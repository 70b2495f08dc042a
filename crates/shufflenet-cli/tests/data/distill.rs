//! Tests of `[distill]` from a user's side: what commands print about a teacher, and which teachers are refused.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::{json, paint, printed, refusal, small};

const CLASSES: [(&str, usize); 3] = [("ant", 0), ("bee", 1), ("cat", 2)];

/// A folder with a run that classifies three colours: the teacher of these tests.
static SCHOOL: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    for part in ["train", "test"] {
        paint(&at.join("set").join(part), &CLASSES, 16);
    }
    let line = "train --config small.toml --set train.epochs=15 --out teacher";
    printed(at, line);
    let line = "export --checkpoint teacher --format safetensors --out weights.safetensors";
    printed(at, line);
    folder
});

fn school() -> &'static Path {
    SCHOOL.path()
}

/// The command line that trains a narrower student.
fn student(out: &str, more: &str) -> String {
    let line =
        "train --config small.toml --set model.widths=[8,12,16,24,32] --set distill.from=teacher";
    format!("{line} --out {out} {more}").trim_end().into()
}

#[test]
fn every_command_on_a_student_names_its_teacher() {
    let at = school();
    let text = printed(at, &student("student", "--set train.epochs=2"));
    for line in [
        "teacher    teacher/checkpoints/best/model.safetensors: standard, widths [8, 16, 24, 32, 48], cifar stem, 3 classes: ",
        "teacher    kd, temperature 4, loss 0.1 by the labels and 0.9 by the teacher",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("converted"), "{text}");
    let words = "teacher    is for images of 16 pixels, and sees images of 12";
    let stages = "--set train.epochs=2 --set train.progressive=[{until_epoch=1,size=12}] --dry-run";
    for (after, is_said) in [(0, true), (1, false)] {
        let more = format!("{stages} --set distill.after_epoch={after}");
        let text = printed(at, &student("smaller", &more));
        assert_eq!(text.contains(words), is_said, "{text}");
        let words = "step       8 images of the last epoch in ";
        assert!(text.contains(words), "{text}");
    }
    let dry = printed(at, &student("dry", "--dry-run"));
    assert!(
        dry.contains("teacher    kd") && dry.contains("all of it works"),
        "{dry}"
    );

    let of = "--config small.toml --set distill.from=teacher";
    let text = printed(at, &format!("summary {of}"));
    let end = "teacher  teacher: standard, widths [8, 16, 24, 32, 48], cifar stem, 3 classes\n\
               teacher  kd, temperature 4, loss 0.1 by the labels and 0.9 by the teacher\n";
    assert!(text.ends_with(end), "{text}");
    let summary = json(at, &format!("summary {of} --json"));
    assert_eq!(summary["teacher"].as_array().unwrap().len(), 2);
    let text = printed(at, "summary --config small.toml --set distill.from=nowhere");
    assert!(text.contains("teacher  nowhere: does not exist"), "{text}");

    let timing = json(at, &format!("bench train {of} --steps 2 --json"));
    assert!(timing["teacher_ms"].as_f64().unwrap() > 0.0, "{timing}");
    let text = printed(at, "bench train --checkpoint student --steps 2");
    assert!(
        text.contains("teacher  ") && text.contains(" ms of each step"),
        "{text}"
    );

    printed(at, "report student --out student.html");
    let page = fs::read_to_string(at.join("student.html")).unwrap();
    let line = "<p>Taught by teacher: kd, temperature 4, loss 0.1 by the labels and 0.9 by the teacher.</p>";
    assert!(page.contains(line));
    // A trained student does not need its teacher.
    let elsewhere = tempfile::tempdir().unwrap();
    let run = at.join("student").display().to_string();
    let set = at.join("set").display().to_string();
    json(
        elsewhere.path(),
        &format!("eval --checkpoint {run} --data {set} --json"),
    );
}

/// Mean and standard deviation of the teacher's pixels, as flags of `import`.
fn normalization() -> String {
    let file = school().join("teacher/checkpoints/best/classifier.json");
    let description: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let flag = |key: &str| {
        let values = description["normalization"][key].as_array().unwrap();
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        format!("--{key} {}", values.join(","))
    };
    [flag("mean"), flag("std")].join(" ")
}

/// The students learn from the teacher alone. Their normalisation differs from the teacher's. They match the teacher's
/// outputs by its class names, so a teacher with wrong names teaches wrong classes.
#[test]
fn pixels_are_converted_for_the_teacher_and_its_classes_matched_by_name() {
    let at = school();
    let own = normalization();
    for (out, names, top1) in [
        ("right", "ant\nbee\ncat", 1.0),
        ("wrong", "bee\ncat\nant", 0.0),
    ] {
        fs::write(at.join(format!("{out}.txt")), names).unwrap();
        let import = "import --weights weights.safetensors --stem cifar --size 16";
        printed(
            at,
            &format!("{import} {own} --class-names {out}.txt --out {out}"),
        );
        let alone = "--set distill.weight=1 --set train.epochs=15";
        let pixels = "--set data.normalization={mean=[0.1,0.1,0.1],std=[0.5,0.4,0.3]}";
        let line = student(&format!("{out}-student"), &format!("{alone} {pixels}"));
        let text = printed(at, &format!("{line} --set distill.from={out}"));
        let words = "teacher    its classes are in another order, and matched by name";
        assert_eq!(text.contains(words), out == "wrong", "{text}");
        let words = "teacher    pixels are converted to the normalisation that it was trained with";
        assert!(text.contains(words), "{text}");
        // With the wrong names the best epoch would be the first.
        let report = json(
            at,
            &format!("eval --checkpoint {out}-student/checkpoints/last --json"),
        );
        assert_eq!(report["top1"], top1, "{out}");
    }
}

#[test]
fn unsuitable_teachers_are_refused_in_one_line() {
    let at = school();
    paint(
        &at.join("zoo/train"),
        &[("ant", 0), ("bee", 1), ("zebra", 2)],
        8,
    );
    paint(
        &at.join("zoo/test"),
        &[("ant", 0), ("bee", 1), ("zebra", 2)],
        8,
    );
    for (more, line) in [
        (
            "distill.from=nowhere",
            "distill.from: nowhere: does not exist",
        ),
        (
            "fine_tune.from=nowhere",
            "fine_tune.from: nowhere: does not exist",
        ),
        (
            "distill.from=set",
            "distill.from: set: is neither a checkpoint nor a run folder",
        ),
        (
            "distill.weight=1.5",
            "distill.weight is 1.5; accepted: a number from 0 to 1; more with distill.label_weight",
        ),
        (
            "distill.temperature=0",
            "distill.temperature is 0; accepted: a number from 0.01 to 1000",
        ),
        (
            "distill.wieght=0.5",
            "unknown key `distill.wieght`; did you mean `distill.weight`?",
        ),
        (
            "distill.kind=hard",
            "--set distill.kind=hard: distill.kind is \"hard\"; accepted: \"kd\", \"standardized\"",
        ),
        (
            "data.root=zoo",
            "distill.from is teacher, a network for the classes ant, bee, cat, zebra not among them; accepted: a network \
             for the classes ant, bee, zebra, as the student is one",
        ),
        (
            "model.input_channels=1",
            "distill.from is teacher, a network for images of 3 channels; accepted: a network for images of 1 channel",
        ),
    ] {
        let refused = refusal(at, &student("refused", &format!("--set {more}")));
        assert!(refused.contains(line), "{refused}");
        assert!(!at.join("refused").exists(), "{more}");
    }
    let line = refusal(
        at,
        "train --config small.toml --set distill.weight=0.5 --out refused",
    );
    assert!(line.contains("distill.from is missing"), "{line}");
    let line = refusal(
        at,
        &format!("{} --force", student("teacher", "--set train.epochs=1")),
    );
    let words =
        "distill.from is teacher, inside the run folder teacher; accepted: a place outside of it";
    assert!(line.contains(words), "{line}");
}

#[test]
fn weights_that_were_trained_on_held_out_images_are_reported() {
    let at = school();
    let seen = "it was trained on images that this run holds out";
    let held_out = "--set train.epochs=1 --set data.validation=0.25";
    let text = printed(at, &student("seen", held_out));
    assert!(text.contains(&format!("teacher    {seen}")), "{text}");
    let tuned = |out: &str, from: &str, seed: usize| {
        let line = "train --config small.toml --set fine_tune.from=";
        let line = format!("{line}{from} --out {out} {held_out} --set train.seed={seed}");
        printed(at, &line).contains(&format!("start      {seen}"))
    };
    assert!(tuned("tuned", "teacher", 0));
    assert!(!tuned("same-division", "tuned", 0));
    assert!(tuned("other-division", "tuned", 1));
    // With the same seed, the held-out quarter contains the held-out tenth.
    let from = "train --config small.toml --set fine_tune.from=tuned --set train.epochs=1";
    let text = printed(at, &format!("{from} --set data.validation=0.1 --out fewer"));
    assert!(!text.contains(seen), "{text}");
    // Another training seed, with the same `data.validation_seed`, holds out the same images.
    let held_out = format!("{held_out} --set data.validation_seed=0");
    let from = "train --config small.toml --set fine_tune.from=tuned --set train.seed=1";
    let text = printed(at, &format!("{from} --out same-images {held_out}"));
    assert!(!text.contains(seen), "{text}");
}
