//! `summary`, and networks that cannot work.

use std::path::Path;

use super::{refusal, refused_training, shufflenet, workplace};

fn summary(folder: &Path, arguments: &[&str]) -> String {
    let arguments = [&["summary"], arguments].concat();
    let assert = shufflenet(folder, &arguments).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn summary_takes_a_network_from_flags_or_from_a_file() {
    let folder = workplace();
    let flags = ["--scale", "0.5", "--layout", "seed", "--stem", "cifar"];
    let json = summary(folder.path(), &[&flags[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["parameters"], 352_042);
    assert_eq!(json["multiply_adds"], 10_902_016);
    assert_eq!(json["input"], serde_json::json!([3, 32, 32]));
    let layers = json["layers"].as_array().unwrap();
    for key in ["parameters", "multiply_adds"] {
        let sum: u64 = layers.iter().map(|row| row[key].as_u64().unwrap()).sum();
        assert_eq!(json[key], sum, "{key}");
    }
    let text = summary(folder.path(), &flags);
    assert!(
        text.ends_with("total  352042 parameters, 10.90 M multiply-adds\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), layers.len() + 3);

    let file = [
        "--config",
        "trial.toml",
        "--input",
        "1x64x48",
        "--set",
        "model.classes=1000",
    ];
    let text = summary(folder.path(), &file);
    let first = text.lines().next().unwrap();
    let expected =
        "standard network of scale 0.5 with 1000 classes, imagenet stem, images of 1x64x48";
    assert_eq!(first, expected);
}

#[test]
fn classes_and_image_size_are_those_of_the_data() {
    let folder = workplace();
    let write = |data: &str| {
        let text = format!(
            "[data]\n{data}\nnormalization = {{ mean = [0.5, 0.5, 0.5], std = [0.2, 0.2, 0.2] }}\n\
             [model]\nstem = \"cifar\"\n"
        );
        std::fs::write(folder.path().join("set.toml"), text).unwrap();
    };
    let file = ["--config", "set.toml"];
    write(
        "format = \"synthetic\"\nroot = \"waves\"\noptions.synthetic = { classes = 7, size = 24 }",
    );
    let text = summary(folder.path(), &file);
    let first = text.lines().next().unwrap();
    assert!(
        first.ends_with("with 7 classes, cifar stem, images of 3x24x24"),
        "{first}"
    );

    write("format = \"cifar100\"\nroot = \"nowhere\"");
    let text = summary(folder.path(), &file);
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("classes  10 are assumed: nowhere"),
        "{last}"
    );
    let given = [&file[..], &["--set", "model.classes=100"]].concat();
    assert!(!summary(folder.path(), &given).contains("assumed"));
}

#[test]
fn a_network_that_cannot_work_is_refused_by_summary_and_train() {
    let folder = workplace();
    let line = refusal(folder.path(), &["summary", "--scale", "0.7"], 2);
    assert!(
        line.contains("model.scale") && line.contains("0.5, 1.0, 1.5, 2.0"),
        "{line}"
    );
    let small = ["summary", "--layout", "seed", "--input", "3x4x4"];
    let line = refusal(folder.path(), &small, 2);
    assert!(
        line.contains("4x4") && line.contains("5x5 and larger"),
        "{line}"
    );
    for (assignment, answer) in [
        (
            "model.widths=[24, 48, 97, 192, 1024]",
            "cannot share the 97 channels",
        ),
        ("model.split_ratio=0.001", "leaves a branch empty"),
        (
            "model.split_ratio=2",
            "split_ratio = 2: above 0 and below 1 is accepted",
        ),
        ("model.dropout=1", "dropout = 1: 0 to below 1 is accepted"),
        (
            "model.repeats=[3, 7, 99]",
            "repeats[2] = 99: 0 to 64 is accepted",
        ),
    ] {
        let line = refusal(folder.path(), &["summary", "--set", assignment], 2);
        assert!(line.contains(answer), "{line}");
        let line = refused_training(folder.path(), assignment, 2);
        assert!(line.contains(answer), "{line}");
    }
    assert!(
        !folder.path().join("runs").exists(),
        "a refused run left a folder"
    );
}
