//! Tests of `predict` on images of every format and on files that are not images.

use std::fs;

use assert_cmd::Command;
use serde_json::Value;

use crate::{repository, run, shufflenet};

/// A phone's folder has pictures in formats that are not read.
#[test]
fn pictures_of_a_folder_that_are_not_read_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).unwrap();
    let image = repository().join("crates/shufflenet-data/tests/fixtures/images/420.jpg");
    fs::copy(image, photos.join("a.jpg")).unwrap();
    for name in ["b.heic", "c.HEIC", "d.mov", "notes.txt"] {
        fs::write(photos.join(name), "x").unwrap();
    }
    let predict = |more: &str| {
        let arguments = ["predict", "--checkpoint", &run(), more];
        let assert = shufflenet(folder.path(), &arguments).assert().code(1);
        let output = assert.get_output().clone();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let [lines, errors] = predict("photos");
    assert!(lines.starts_with("photos/a.jpg: "), "{lines}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(
        errors.contains("photos: ") && errors.contains("2 .heic (") && errors.contains("1 .mov ("),
        "{errors}"
    );
    let [_, errors] = predict("photos/**/*.heic");
    assert!(errors.contains("photos/b.heic: "), "{errors}");
}

#[test]
fn images_are_classified_and_bad_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let images = repository().join("crates/shufflenet-data/tests/fixtures/images");
    let mut names: Vec<_> = fs::read_dir(&images)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "png"))
        .collect();
    names.sort();
    fs::create_dir(folder.path().join("photos")).unwrap();
    for (name, from) in ["a.png", "b, c.png"].iter().zip(&names) {
        fs::copy(from, folder.path().join("photos").join(name)).unwrap();
    }
    let run = run();
    let predict = |more: &[&str]| {
        let arguments = [&["predict", "--checkpoint", &run, "--top", "2"], more].concat();
        shufflenet(folder.path(), &arguments)
    };
    let text = |command: &mut Command, code| {
        let assert = command.assert().code(code);
        let output = assert.get_output().clone();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let [lines, _] = text(&mut predict(&["photos"]), 0);
    assert_eq!(lines.lines().count(), 2);
    assert!(
        lines.starts_with("photos/a.png: ") && lines.matches(" %").count() == 4,
        "{lines}"
    );
    let [csv, _] = text(&mut predict(&["--csv", "photos/*.png"]), 0);
    assert!(
        csv.starts_with("path,rank,class,name,probability\nphotos/a.png,1,"),
        "{csv}"
    );
    assert!(csv.contains("\n\"photos/b, c.png\",2,"), "{csv}");
    #[cfg(target_os = "linux")]
    {
        let full = fs::File::create("/dev/full").unwrap();
        let program = env!("CARGO_BIN_EXE_shufflenet");
        let mut command = std::process::Command::new(program);
        command.args(["predict", "--checkpoint", &run, "photos"]);
        let output = command
            .current_dir(folder.path())
            .stdout(full)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.starts_with("error: cannot write to standard output"),
            "{errors}"
        );
    }

    fs::write(
        folder.path().join("photos/half.png"),
        &fs::read(&names[0]).unwrap()[..60],
    )
    .unwrap();
    let [objects, errors] = text(
        &mut predict(&["--json", "--logits", "photos", "nowhere.png"]),
        1,
    );
    let objects: Vec<Value> = objects
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 4);
    assert_eq!(objects[0]["logits"].as_array().unwrap().len(), 10);
    let sum: f64 = objects[0]["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|top| top["probability"].as_f64().unwrap())
        .sum();
    assert!(sum > 0.1 && sum <= 1.0);
    assert!(
        objects[2]["error"]
            .as_str()
            .unwrap()
            .contains("truncated PNG"),
        "{:?}",
        objects[2]
    );
    assert!(
        errors.contains("half.png") && errors.contains("nowhere.png"),
        "{errors}"
    );

    // Standard input with names or with an image gives the same, and so does another batch size.
    let [one_by_one, _] = text(
        predict(&["--batch", "1", "-"]).write_stdin("photos/a.png\nphotos/b, c.png\n"),
        0,
    );
    assert_eq!(one_by_one, lines);
    let image = fs::read(folder.path().join("photos/a.png")).unwrap();
    let [piped, _] = text(predict(&["-"]).write_stdin(image), 0);
    assert_eq!(
        piped.trim_start_matches('-'),
        lines
            .lines()
            .next()
            .unwrap()
            .trim_start_matches("photos/a.png")
            .to_string()
            + "\n"
    );
}
