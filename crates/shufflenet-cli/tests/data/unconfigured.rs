//! Tests of `train --data`, which trains without a configuration, and of its answers to paths that are not data.

use std::fs;
use std::path::Path;

use crate::{paint, printed, refusal, run};

/// A network that trains in a second.
pub const TINY: &str =
    "--set model.widths=[8,16,24,32,48] --set model.repeats=[1,1,1] --set train.epochs=2";

pub fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("checkpoints/last/model.safetensors")).unwrap()
}

#[test]
fn the_printed_configuration_repeats_a_run_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("photos"), &[("blue", 2), ("red", 0)], 20);
    let text = printed(at, &format!("train --data photos {TINY}"));
    for line in [
        "chosen     format folder: 40 images of 2 classes; 8 of them, of every class, held out to choose the best epoch",
        "chosen     network widths [8, 16, 24, 32, 48], cifar stem, 3x16x16 in: as --set has it",
        "chosen     2 epochs in batches of 8, random shifts, mirror images",
        "data       photos: 32 training records, 8 validation records",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(
        printed(at, "data verify --data photos"),
        "all: 40 images, 0 bad\n"
    );
    assert!(printed(at, "data stats --data photos").contains("red"));
    printed(at, "data preview --data photos --out preview.png");
    let config = printed(at, &format!("train --data photos {TINY} --print-config"));
    assert!(config.starts_with("# chosen     format folder"), "{config}");
    fs::write(at.join("photos.toml"), &config).unwrap();
    printed(at, "train --config photos.toml --out runs/again");
    assert_eq!(
        weights(&at.join("runs/photos")),
        weights(&at.join("runs/again"))
    );

    let rows = printed(
        at,
        "predict --checkpoint runs/photos photos/blue --csv --top 1",
    );
    assert_eq!(rows.lines().count(), 21, "{rows}");
    printed(at, "report runs/photos");
    assert!(at.join("runs/photos/report.html").is_file());
}

#[test]
fn a_run_without_a_configuration_resumes_from_its_run_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("photos"), &[("blue", 2), ("red", 0)], 20);
    printed(at, &format!("train --data photos {TINY}"));
    let line = refusal(at, &format!("train --data photos {TINY}"));
    assert!(line.contains("runs/photos holds a run already"), "{line}");
    // The command does not repeat the settings of the tiny network, and the data has moved.
    fs::rename(at.join("photos"), at.join("moved")).unwrap();
    let again = "train --data moved --resume --out runs/photos --set train.epochs=3";
    let text = printed(at, again);
    assert!(text.contains("resume     at step 8 of 12"), "{text}");
    let line = "resume     the data was photos, now it is moved: its images have the names and sizes of those";
    assert!(text.contains(line), "{text}");
    let line = refusal(at, "train --data photos --resume");
    let answer = "--data is photos, which does not exist; accepted: the data that the run in runs/photos was started on; \
                  if it has moved, --data PLACE --resume --out runs/photos";
    assert!(line.contains(answer), "{line}");
    // A run is named after its data folder.
    fs::rename(at.join("moved"), at.join("again")).unwrap();
    let text = printed(at, &format!("train --data again --resume {TINY}"));
    let line = "resume     nothing is saved in runs/again: starting a new run; runs/photos was trained on this data, then \
                called moved: --resume --out runs/photos continues that run";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_run_takes_network_image_size_and_normalisation_from_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("first"), &[("blue", 2), ("red", 0)], 20);
    paint(
        &at.join("second"),
        &[("green", 1), ("red", 0), ("blue", 2)],
        12,
    );
    printed(at, &format!("train --data first {TINY}"));
    let text = printed(
        at,
        "train --data second --from runs/first --set train.epochs=1",
    );
    for line in [
        "3x16x16 in: as runs/first has them",
        "start      the classifier is new: its classes were blue, red, now they are blue, green, red",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let config = fs::read_to_string(at.join("runs/second/config.toml")).unwrap();
    for line in [
        "widths = [8, 16, 24, 32, 48]",
        "[data.normalization]",
        "from = \"runs/first\"",
    ] {
        assert!(config.contains(line), "{line}\n{config}");
    }

    let from = |name: &str| refusal(at, &format!("train --data second --from {name} --force"));
    let line = from("x1.0");
    assert!(
        line.contains(
            "weights/x1.0 does not exist; accepted: x1.0 after `shufflenet weights fetch x1.0`"
        ),
        "{line}"
    );
    let line = from("x3.0");
    assert!(
        line.contains(
            "--from is x3.0, which does not exist; accepted: x0.5, x1.0, x1.5, x2.0, a run's folder"
        ),
        "{line}"
    );
    let line = from("second");
    assert!(
        line.contains("is neither a checkpoint nor a run folder"),
        "{line}"
    );
    fs::write(at.join("net.pth"), "").unwrap();
    let line = from("net.pth");
    assert!(
        line.contains("accepted: a checkpoint, as `shufflenet import` makes of such a file"),
        "{line}"
    );
}

#[test]
fn paths_that_are_not_data_are_refused_by_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("deep/2024"), &[("blue", 2), ("red", 0)], 2);
    paint(&at.join("deep/2025"), &[("blue", 2), ("red", 0)], 2);
    paint(&at.join("sets/mine/train"), &[("blue", 2), ("red", 0)], 2);
    paint(&at.join("one"), &[("blue", 2)], 4);
    paint(&at.join("single"), &[("blue", 2)], 4);
    paint(&at.join("single"), &[("red", 0)], 1);
    paint(&at.join("flat"), &[("", 1)], 3);
    paint(&at.join("listed"), &[("", 1)], 3);
    fs::write(at.join("listed/labels.csv"), "path,label\n").unwrap();
    fs::create_dir(at.join("empty")).unwrap();
    for class in ["texts/a", "texts/b", "broken/a", "broken/b"] {
        fs::create_dir_all(at.join(class)).unwrap();
        fs::write(at.join(class).join("1.txt"), "text").unwrap();
    }
    for class in ["broken/a", "broken/b"] {
        fs::write(at.join(class).join("1.jpg"), "text").unwrap();
    }
    for file in ["net.pth", "photos.zip", "a.toml", "a.png"] {
        fs::write(at.join(file), "").unwrap();
    }
    fs::create_dir_all(at.join("run/checkpoints")).unwrap();
    fs::write(at.join("run/config.toml"), "").unwrap();
    for (data, answer) in [
        (
            "nowhere",
            "--data is nowhere, which does not exist; accepted: a folder of images with a folder for each class, ",
        ),
        ("empty", "--data is empty, an empty folder"),
        (
            "flat",
            "--data is flat, a folder with 3 images and no folder for each class",
        ),
        ("listed", "did you mean --data listed/labels.csv?"),
        (
            "deep",
            "whose images are all in folders of folders, as 2024/blue/0.ppm is, so that the classes would be 2024, 2025",
        ),
        (
            "sets",
            "accepted: --data sets/mine, or CLASS/IMAGE, or --set data.format=folder",
        ),
        (
            "one",
            "the number of classes is 1; accepted: two or more, to tell apart",
        ),
        (
            "single",
            "the number of images of class red is 1; accepted: 2 or more, one to train on and one held out",
        ),
        (
            "texts",
            "has no images in its subfolders (passed over: 2 .txt)",
        ),
        (
            "broken",
            "broken/a/1.jpg: found bytes of another kind of file",
        ),
        (
            "net.pth",
            "--data is net.pth, a network's file: `shufflenet import` makes a checkpoint of it",
        ),
        (
            "photos.zip",
            "--data is photos.zip, an archive: unpack it first",
        ),
        (
            "a.toml",
            "--data is a.toml, a configuration: --config takes those",
        ),
        ("a.png", "--data is a.png, a single image"),
        (
            "run",
            "--data is run, which is a trained network: --from takes networks to start from",
        ),
    ] {
        let line = refusal(at, &format!("train --data {data}"));
        assert!(line.contains(answer), "{data}: {line}");
    }
    assert!(!at.join("runs").exists(), "nothing was written");
    let (code, _, errors) = run(at, "train");
    assert_eq!(code, 2);
    assert!(errors.contains("--config <FILE>|--data <PATH>"), "{errors}");
    let taken = "train --data deep --set data.format=folder --dry-run --set model.scale=0.5";
    assert!(printed(at, taken).contains("of 2 classes"));
}

#[test]
fn a_resumed_run_keeps_the_weights_that_it_started_from() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("photos"), &[("a", 0), ("b", 1)], 8);
    printed(at, &format!("train --data photos --out start {TINY}"));
    let from =
        "train --data photos --out run --from start --set train.epochs=1 --set data.workers=0";
    let text = printed(at, &format!("{from} --set data.options.size=24"));
    assert!(text.contains("3x24x24 in: as --set has it"), "{text}");
    let line = refusal(at, "train --data photos --out run --from run --resume");
    assert!(
        line.contains("this run was started with --from = start, now it is run"),
        "{line}"
    );
}

#[test]
fn balanced_class_weights_train_as_the_equal_numbers_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("photos"), &[("common", 2)], 32);
    paint(&at.join("photos"), &[("rare", 0)], 8);
    let train = |out: &str, more: &str| {
        printed(at, &format!("train --data photos --out {out} {more}{TINY}"))
    };
    let text = train("runs/plain", "");
    let note = "note       classes are unequal: rare has 6 training images, common 26; every image has the same weight; \
                loss.class_weights = \"balanced\"";
    assert!(text.contains(note), "{text}");
    let text = train("runs/word", "--set loss.class_weights=balanced ");
    assert!(
        text.contains("common 26; loss.class_weights weighs them"),
        "{text}"
    );
    let config = fs::read_to_string(at.join("runs/word/config.toml")).unwrap();
    assert!(config.contains("class_weights = \"balanced\""), "{config}");
    // 32 training images of 2 classes, 26 and 6 of each.
    let numbers = format!("--set loss.class_weights=[{},{}] ", 16.0 / 26.0, 16.0 / 6.0);
    train("runs/numbers", &numbers);
    let of = |run: &str| weights(&at.join("runs").join(run));
    assert_eq!(of("word"), of("numbers"));
    assert_ne!(of("word"), of("plain"));
    for line in [
        "train --data photos --out runs/word --resume --set train.epochs=3",
        "bench train --checkpoint runs/word --steps 1",
        "eval --checkpoint runs/word",
        "lr-find --config runs/word/config.toml --steps 20",
    ] {
        printed(at, line);
    }
    let line = refusal(
        at,
        "train --data photos --force --set loss.class_weights=even",
    );
    assert!(
        line.contains(
            "error: --set loss.class_weights=even: loss.class_weights is \"even\"; accepted: \"balanced\" or a list with"
        ),
        "{line}"
    );
}
