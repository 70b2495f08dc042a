//! Tests that a trained network's classes are matched with the classes of data by name.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::unconfigured::TINY;
use crate::{json, paint, printed, refusal, small};

/// A folder with a run that classifies cats (red) and dogs (green), and its weights in a file.
static PETS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    for part in ["train", "test"] {
        paint(&at.join("set").join(part), &[("cat", 0), ("dog", 1)], 16);
    }
    printed(
        at,
        "train --config small.toml --set train.epochs=15 --out run",
    );
    printed(
        at,
        "export --checkpoint run --format safetensors --out weights.safetensors",
    );
    folder
});

fn pets() -> &'static Path {
    PETS.path()
}

/// Imports the weights into the folder `out`, with more `arguments`.
fn import(out: &str, arguments: &str) {
    let description =
        fs::read_to_string(pets().join("run/checkpoints/best/classifier.json")).unwrap();
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    let numbers = |key: &str| {
        let values = description["normalization"][key].as_array().unwrap().iter();
        values
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let (mean, std) = (numbers("mean"), numbers("std"));
    let line = format!(
        "import --weights weights.safetensors --stem cifar --size 16 --mean {mean} --std {std} --out {out}{arguments}"
    );
    printed(pets(), &line);
}

#[test]
fn a_smaller_set_of_classes_is_matched_by_name() {
    paint(&pets().join("dogs/test"), &[("dog", 1)], 5);
    let own = json(pets(), "eval --checkpoint run --json");
    let report = json(pets(), "eval --checkpoint run --data dogs --json");
    assert_eq!(
        (&own["top1"], &own["chosen_by_this_split"]),
        (&1.0.into(), &true.into())
    );
    assert_eq!(
        (&report["top1"], &report["count"]),
        (&1.0.into(), &5.into())
    );
    assert_eq!(report["classes"][1]["name"], "dog");
    assert_eq!(report["classes"][1]["count"], 5);
    assert_eq!(
        report["chosen_by_this_split"], false,
        "the run never saw this set"
    );
}

#[test]
fn classes_that_the_network_does_not_know_are_refused_by_name_or_left_out() {
    paint(
        &pets().join("zoo/test"),
        &[("ant", 2), ("dog", 1), ("zebra", 2)],
        3,
    );
    let line = refusal(pets(), "eval --checkpoint run --data zoo");
    assert!(
        line.contains(
            "zoo: found the classes ant (3), zebra (3), expected those of the network: cat, dog"
        ),
        "{line}"
    );
    let line = "eval --checkpoint run --data zoo --skip-unknown-classes";
    let report = json(pets(), &format!("{line} --json"));
    assert_eq!(
        (&report["top1"], &report["count"]),
        (&1.0.into(), &3.into())
    );
    assert_eq!(report["left_out"], 6);
    let text = printed(pets(), line);
    assert!(
        text.contains("note: 3 images of class zebra left out"),
        "{text}"
    );
    let line = refusal(pets(), "report run --data zoo --out zoo.html");
    assert!(line.contains("zoo: found the classes"), "{line}");
    assert!(!pets().join("zoo.html").exists());
}

#[test]
fn class_names_of_an_import_are_matched_with_those_of_the_data() {
    fs::write(pets().join("right.txt"), "cat\ndog\n").unwrap();
    // A file as Windows writes it: a byte order mark, CRLF, an empty line at the end.
    fs::write(pets().join("wrong.txt"), "\u{feff}dog\r\ncat\r\n\r\n").unwrap();
    for (names, top1) in [("right", 1.0), ("wrong", 0.0)] {
        import(names, &format!(" --class-names {names}.txt"));
        let report = json(
            pets(),
            &format!("eval --checkpoint {names} --data set --json"),
        );
        assert_eq!(report["top1"], top1, "{names}");
        let first = json(
            pets(),
            &format!("predict --checkpoint {names} --json set/test/dog/0.ppm"),
        );
        let name = if names == "right" { "dog" } else { "cat" };
        assert_eq!(first["top"][0]["name"], name);
    }
}

#[test]
fn a_network_without_names_takes_the_data_order_and_says_so() {
    import("unnamed", "");
    let text = printed(pets(), "eval --checkpoint unnamed --data set");
    assert!(
        text.contains("note: the network has no class names: its outputs are taken as cat, dog"),
        "{text}"
    );
    assert!(text.contains("top-1 100.00 %"), "{text}");
    // Two orders are possible, and only one is right: 10 comes before 2 by bytes.
    paint(&pets().join("numbers/test"), &[("10", 0), ("2", 1)], 4);
    let line = refusal(pets(), "eval --checkpoint unnamed --data numbers");
    assert!(line.contains("--class-order bytes (1, 10, 2"), "{line}");
    for (order, top1) in [("bytes", 1.0), ("value", 0.0)] {
        let line = format!("eval --checkpoint unnamed --data numbers --class-order {order} --json");
        assert_eq!(json(pets(), &line)["top1"], top1, "{order}");
    }
}

#[test]
fn a_run_is_not_resumed_with_other_classes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    for part in ["train", "test"] {
        paint(&at.join("set").join(part), &[("a", 0), ("b", 1)], 8);
    }
    printed(at, "train --config small.toml --out run");
    for part in ["train", "test"] {
        fs::rename(
            at.join("set").join(part).join("b"),
            at.join("set").join(part).join("c"),
        )
        .unwrap();
    }
    let line = refusal(
        at,
        "train --config small.toml --set train.epochs=2 --out run --resume",
    );
    assert!(
        line.contains("the classes = a, b, now it is a, c"),
        "{line}"
    );
    // A class more does not fit the network of the run.
    paint(&at.join("grown"), &[("a", 0), ("b", 1)], 20);
    printed(at, &format!("train --data grown {TINY}"));
    paint(&at.join("grown"), &[("z", 2)], 20);
    let line = refusal(at, "train --data grown --resume --accept-changed-data");
    assert!(
        line.contains(
            "the number of classes is 3, what grown has; accepted: 2, the classes that the run in runs/grown was started \
             with; --out DIR starts another run"
        ),
        "{line}"
    );
}

#[test]
fn fine_tuning_reports_whether_it_keeps_the_classifier() {
    let tuned = |arguments: &str| {
        let line = format!(
            "train --config small.toml --set fine_tune.from=run --set train.max_steps=1 {arguments}"
        );
        printed(pets(), &line)
    };
    let text = tuned("--out same");
    assert!(
        text.contains("start      the classifier is kept: the classes are the same"),
        "{text}"
    );
    assert!(!text.contains("pixels are normalised"), "{text}");
    for part in ["train", "test"] {
        paint(
            &pets().join("fine").join(part),
            &[("dog", 1), ("zebra", 2)],
            8,
        );
    }
    let text = tuned("--set data.root=fine --out other");
    assert!(
        text.contains("the classifier is new: its classes were cat, dog, now they are dog, zebra"),
        "{text}"
    );
    assert!(
        text.contains("start      pixels are normalised by mean"),
        "{text}"
    );
    let line = "train --config small.toml --set fine_tune.from=run --set model.stem=imagenet \
                --set data.options.size=32 --set data.options.resize=32 --set train.max_steps=1 --out stem";
    let words = refusal(pets(), line);
    assert!(
        words.contains("model.stem is \"imagenet\"; accepted: \"cifar\", the stem of the weights"),
        "{words}"
    );
    let text = printed(pets(), &format!("{line} --set fine_tune.other_stem=true"));
    assert!(
        text.contains("the imagenet stem, the weights were trained with the cifar stem"),
        "{text}"
    );
}
