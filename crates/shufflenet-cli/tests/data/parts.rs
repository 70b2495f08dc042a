//! Tests of the parts of a data set (training, validation, test), under the folder names that people use.

use std::fs;

use crate::{json, paint, printed, refusal, small};

const COLOURS: [(&str, usize); 2] = [("a", 0), ("b", 1)];

#[test]
fn a_validation_part_chooses_the_best_epoch_and_the_test_set_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    for (part, count) in [("Train", 8), ("valid", 6), ("test", 5)] {
        paint(&at.join("set").join(part), &COLOURS, count);
    }
    let text = printed(at, "train --config small.toml --out run");
    assert!(
        text.contains("16 training records, 12 validation records, 10 test records for the end"),
        "{text}"
    );
    assert!(
        text.contains("validation: loss") && text.contains("on 10 records, by the best epoch"),
        "{text}"
    );
    assert!(!text.contains("the test set chooses"), "{text}");
    let report = json(at, "eval --checkpoint run --json");
    assert_eq!(
        (&report["split"], &report["count"]),
        (&"test".into(), &10.into())
    );
    assert_eq!(report["chosen_by_this_split"], false);
    let report = json(at, "eval --checkpoint run --split validation --json");
    assert_eq!(
        (&report["count"], &report["chosen_by_this_split"]),
        (&12.into(), &true.into())
    );
    let line = refusal(
        at,
        "train --config small.toml --set data.validation=0.1 --out other",
    );
    assert!(
        line.contains("data.validation is 0.1; accepted: 0, because set has a validation part"),
        "{line}"
    );
}

#[test]
fn a_training_part_alone_needs_a_held_out_part() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    paint(&at.join("set/train"), &COLOURS, 8);
    let line = refusal(at, "train --config small.toml --out run");
    assert!(
        line.contains("data.validation is 0; accepted: a fraction of the training part"),
        "{line}"
    );
    let text = printed(
        at,
        "train --config small.toml --set data.validation=0.25 --out run",
    );
    assert!(
        text.contains("12 training records, 4 validation records"),
        "{text}"
    );
    let report = json(at, "eval --checkpoint run --json");
    assert_eq!(
        (&report["count"], &report["chosen_by_this_split"]),
        (&4.into(), &true.into())
    );
    let report = json(at, "eval --checkpoint run --split train --json");
    assert_eq!(report["count"], 12);
    // Other data has no held-out part.
    fs::rename(at.join("set"), at.join("moved")).unwrap();
    let report = json(at, "eval --checkpoint run --data moved --json");
    assert_eq!(
        (&report["split"], &report["count"]),
        (&"train".into(), &16.into())
    );
}

#[test]
fn eval_takes_labelled_images_with_or_without_parts() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    for part in ["train", "test"] {
        paint(&at.join("set").join(part), &COLOURS, 8);
    }
    printed(at, "train --config small.toml --out run");
    paint(&at.join("only-val/val"), &COLOURS, 3);
    paint(&at.join("only-test/test"), &COLOURS, 4);
    paint(&at.join("undivided"), &COLOURS, 5);
    let list = "path,label\nundivided/a/0.ppm,a\nundivided\\b\\1.ppm,b\n";
    fs::write(at.join("list.csv"), list).unwrap();
    for (data, split, count) in [
        ("only-val", "validation", 6),
        ("only-test", "test", 8),
        ("undivided", "all", 10),
        ("list.csv", "all", 2),
    ] {
        let report = json(at, &format!("eval --checkpoint run --data {data} --json"));
        assert_eq!(
            (&report["split"], &report["count"]),
            (&split.into(), &count.into())
        );
        assert_eq!(report["chosen_by_this_split"], false);
    }
    let line = refusal(at, "eval --checkpoint run --data only-val --split test");
    assert!(
        line.contains("only-val: has val, but no test part"),
        "{line}"
    );
    let line = refusal(at, "eval --checkpoint run --split dev");
    assert!(
        line.contains("--split is dev; accepted: test, validation, train, all"),
        "{line}"
    );
}

/// A run's division and limit are of its own data, at any place, and of no other.
#[test]
fn the_division_of_a_run_is_not_applied_to_other_data() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    for (set, count) in [("set", 10), ("other", 12)] {
        for part in ["train", "test"] {
            paint(&at.join(set).join(part), &COLOURS, count);
        }
    }
    printed(
        at,
        "train --config small.toml --set data.validation=0.2 --set data.limit=10 --out run",
    );
    let count =
        |line: &str| json(at, &format!("eval --checkpoint run --json {line}"))["count"].clone();
    fs::rename(at.join("set"), at.join("moved")).unwrap();
    assert_eq!(count("--data moved --split validation"), 4);
    assert_eq!(count("--data moved --split train"), 10);
    assert_eq!(count("--data other --split train"), 24);
    assert_eq!(count("--data other"), 24);
    let line = refusal(at, "eval --checkpoint run --data other --split validation");
    assert!(
        line.contains(
            "--split is validation; accepted: test, train (this data has no validation part)"
        ),
        "{line}"
    );
}

#[test]
fn classes_that_the_training_part_lacks_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    paint(&at.join("set/train"), &COLOURS, 8);
    paint(&at.join("set/test"), &[("a", 0), ("z", 2)], 2);
    let line = refusal(at, "train --config small.toml --out run");
    assert!(
        line.contains("set: found the class z (2), expected those of the training part: a, b"),
        "{line}"
    );
}

#[test]
fn a_class_without_training_images_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    for part in ["train", "test"] {
        paint(
            &at.join("set").join(part),
            &[("a", 0), ("b", 1), ("c", 2)],
            8,
        );
    }
    // The images of the classes alternate, so the first two are of a and b.
    let line = refusal(at, "train --config small.toml --set data.limit=2 --out run");
    assert!(line.contains("0 for 1 of 3 classes: c"), "{line}");
    let list = "path,label,split\nset/train/a/0.ppm,a,train\nset/train/b/0.ppm,b,train\nset/test/c/0.ppm,c,test\n";
    fs::write(at.join("list.csv"), list).unwrap();
    let manifest = "--set data.format=manifest --set data.root=list.csv";
    let line = refusal(
        at,
        &format!("train --config small.toml {manifest} --out run"),
    );
    assert!(line.contains("0 for 1 of 3 classes: c"), "{line}");
    fs::write(
        at.join("list.csv"),
        list.replace(",b,", ",a,").replace(",c,", ",a,"),
    )
    .unwrap();
    let line = refusal(
        at,
        &format!("train --config small.toml {manifest} --out run"),
    );
    assert!(
        line.contains("the number of classes is 1; accepted: two or more"),
        "{line}"
    );
    // If the held-out part takes every image of a class, the error names that class.
    paint(&at.join("rare/train"), &[("a", 0)], 20);
    paint(&at.join("rare/train"), &[("rare", 1)], 3);
    let line = refusal(
        at,
        "train --config small.toml --set data.root=rare --set data.validation=0.1 --out run",
    );
    assert!(
        line.contains("leaves class rare a record in each part"),
        "{line}"
    );
}
