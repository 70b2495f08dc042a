//! Tests of `shufflenet data` and of training on a folder of images, from a user's side.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic like the tests"
)]

mod classes;
mod distill;
mod images;
mod kept;
mod notes;
mod parts;
mod unconfigured;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shufflenet-data/tests/fixtures/images")
}

/// A folder with two classes of images in every file format, and an experiment on it.
fn workplace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (part, count) in [("train", 12), ("test", 4)] {
        for (class, ending) in [("jpegs", ".jpg"), ("others", ".png")] {
            let place = folder.path().join("set").join(part).join(class);
            fs::create_dir_all(&place).unwrap();
            let names = fs::read_dir(images())
                .unwrap()
                .map(|entry| entry.unwrap().file_name());
            let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
            names.retain(|name| name.ends_with(ending));
            names.sort();
            for name in &names[..count] {
                fs::copy(images().join(name), place.join(name)).unwrap();
            }
        }
    }
    let text = "[model]\nscale = 0.5\nstem = \"cifar\"\nclasses = 2\n\
                [data]\nformat = \"folder\"\nroot = \"set\"\nworkers = 2\n\
                augmentation = { random_resized_crop = true, flip = true }\n\
                [data.options]\nsize = 32\n[train]\nepochs = 1\nbatch_size = 8\n";
    fs::write(folder.path().join("trial.toml"), text).unwrap();
    folder
}

/// Writes `count` images of each class below `place`: red, green or blue (0, 1, 2), with noise.
fn paint(place: &Path, classes: &[(&str, usize)], count: usize) {
    for &(class, colour) in classes {
        let folder = place.join(class);
        fs::create_dir_all(&folder).unwrap();
        for image in 0..count {
            let noise = |at: usize| ((at * 31 + image * 17 + colour * 7) % 90) as u8;
            let value = |at: usize| noise(at) + if at % 3 == colour { 150 } else { 0 };
            let pixels: Vec<u8> = (0..16 * 16 * 3).map(value).collect();
            let bytes = [b"P6 16 16 255\n", pixels.as_slice()].concat();
            fs::write(folder.join(format!("{image}.ppm")), bytes).unwrap();
        }
    }
}

/// Writes `small.toml`, a small experiment on the images below `set`.
fn small(at: &Path) {
    let text = "[model]\nwidths = [8, 16, 24, 32, 48]\nrepeats = [1, 1, 1]\nstem = \"cifar\"\n\
                [data]\nformat = \"folder\"\nroot = \"set\"\nworkers = 0\n[data.options]\nsize = 16\nresize = 16\n\
                [train]\nepochs = 1\nbatch_size = 8\n[optimizer]\nlearning_rate = 0.05\n";
    fs::write(at.join("small.toml"), text).unwrap();
}

/// Checks that a command succeeds, and gives its output.
fn printed(at: &Path, line: &str) -> String {
    let (code, text, errors) = run(at, line);
    assert_eq!(code, 0, "{line}: {text}{errors}");
    text
}

/// Checks that a command fails with one line, and gives that line.
fn refusal(at: &Path, line: &str) -> String {
    let (code, text, errors) = run(at, line);
    assert!(code == 1 || code == 2, "{line}: {text}{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    errors
}

/// The output of a command with `--json`.
fn json(at: &Path, line: &str) -> serde_json::Value {
    serde_json::from_str(&printed(at, line)).unwrap()
}

/// Exit code, standard output and standard error.
fn run(folder: &Path, line: &str) -> (i32, String, String) {
    let mut command = Command::cargo_bin("shufflenet").unwrap();
    let output = command
        .current_dir(folder)
        .args(line.split(' '))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn data_commands_and_training_take_a_folder() {
    let folder = workplace();
    let at = folder.path();
    let (code, text, _) = run(at, "data verify --config trial.toml");
    assert_eq!(
        (code, text.as_str()),
        (0, "train: 24 images, 0 bad\ntest: 8 images, 0 bad\n")
    );
    let (code, text, _) = run(at, "data stats --config trial.toml --json");
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &stats["parts"][0]["records"]), (0, &24.into()));
    assert_eq!(stats["duplicates_across"].as_array().unwrap().len(), 8);
    let preview = "data preview --config trial.toml --out preview.png --count 9";
    let (code, text, _) = run(at, preview);
    assert_eq!(
        (code, text.as_str()),
        (0, "preview.png: 9 training images\n")
    );
    let all = "data preview --config trial.toml --set data.validation=0.5 --out all.png --count 99";
    assert_eq!(run(at, all).1, "all.png: 12 training images\n");
    let (code, _, line) = run(at, preview);
    assert!(
        code == 2
            && line.contains("--out is preview.png, which exists; accepted: a file to be made"),
        "{line}"
    );
    let (code, text, line) = run(at, "train --config trial.toml --out run");
    assert!(
        code == 0 && text.contains("24 training records, 8 test records"),
        "{text}{line}"
    );
}

#[test]
fn early_images_too_small_for_batch_norm_are_refused_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(at);
    for part in ["train", "test"] {
        paint(&at.join("set").join(part), &[("a", 0), ("b", 1)], 4);
    }
    let line = "train --config small.toml --set train.batch_size=1";
    let small = "--set train.progressive=[{until_epoch=1,size=8}]";
    let text = refusal(at, &format!("{line} {small}"));
    let words = "train.progressive: a training batch of 1 at 8x8 leaves batch norm 1 value";
    assert!(text.contains(words), "{text}");
    assert!(!at.join("runs").exists());
    printed(at, line);
}

#[test]
fn a_bad_image_stops_the_run_or_is_left_out_by_name() {
    let folder = workplace();
    let at = folder.path();
    let bad = at.join("set/train/jpegs/420.jpg");
    let whole = fs::read(&bad).unwrap();
    fs::write(&bad, &whole[..whole.len() / 2]).unwrap();
    let (code, text, _) = run(at, "data verify --config trial.toml");
    assert!(
        code == 1 && text.contains("420.jpg: found a truncated JPEG, expected"),
        "{text}"
    );
    let (code, _, line) = run(at, "train --config trial.toml --out run");
    assert!(
        code == 1 && line.contains("420.jpg: found a truncated JPEG"),
        "{line}"
    );
    let skipping = "train --config trial.toml --out skipping --set data.options.on_bad_image=skip";
    let (code, text, line) = run(at, skipping);
    assert!(
        code == 0 && text.contains("23 training records"),
        "{text}{line}"
    );
    assert!(
        text.contains("note       1 image left out, because reading fails"),
        "{text}"
    );
    assert!(text.contains("420.jpg: found a truncated JPEG"), "{text}");
}

#[test]
fn wrong_options_are_refused_with_what_is_accepted() {
    let folder = workplace();
    let refused = |assignment: &str, expected: &str| {
        let line = format!("train --config trial.toml --out run --set {assignment}");
        let (code, _, line) = run(folder.path(), &line);
        assert!(code == 2 && line.contains(expected), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    };
    refused(
        "data.options.size=0",
        "data.options.size is 0; accepted: 1 to 4096 pixels",
    );
    refused(
        "data.options.resize=8",
        "data.options.resize is 8; accepted: 32",
    );
    refused(
        "data.options.on_bad_image=ignore",
        "data.options.on_bad_image is \"ignore\"; accepted: \"error\", \"skip\"",
    );
    refused("data.options.sizes=3", "did you mean `data.options.size`?");
    refused(
        "data.format=tfrecord",
        "accepted: one of cifar10, cifar100, idx, manifest",
    );
    refused("data.format=parquet", "--features parquet");
}
