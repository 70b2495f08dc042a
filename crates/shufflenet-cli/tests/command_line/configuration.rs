//! Answers to wrong values in a configuration or in `--set`, and the printed configuration.

use super::{refusal, refused_training, shufflenet, workplace};

#[test]
fn wrong_configuration_is_answered_with_key_and_accepted_values() {
    let folder = workplace();
    let line = refused_training(folder.path(), "train.epoch=3", 2);
    assert!(line.contains("did you mean `train.epochs`?"), "{line}");
    let line = refused_training(folder.path(), "train.epochs=\"many\"", 2);
    assert!(
        line.contains("train.epochs") && line.contains("many") && line.contains("a whole number"),
        "{line}"
    );
    let line = refused_training(folder.path(), "model.scale=0.7", 2);
    assert!(
        line.contains("0.7") && line.contains("0.5, 1.0, 1.5, 2.0"),
        "{line}"
    );
    let line = refused_training(folder.path(), "model.classes=7", 2);
    assert!(line.contains("model.classes is 7; accepted: 10"), "{line}");
    let line = refusal(folder.path(), &["train", "--config", "none.toml"], 1);
    assert!(line.contains("none.toml"), "{line}");
    assert_eq!(line.matches("No such file").count(), 1, "{line}");
}

#[test]
fn a_wrong_value_is_reported_with_its_source() {
    let folder = workplace();
    let line = refused_training(folder.path(), "train.epochs=abc", 2);
    assert_eq!(
        line.trim_end(),
        "error: --set train.epochs=abc: train.epochs is \"abc\"; accepted: a whole number from 1"
    );
    let line = refusal(folder.path(), &["summary", "--scale", "0.7"], 2);
    assert_eq!(
        line.trim_end(),
        "error: --scale 0.7: model.scale is 0.7; accepted: 0.5, 1.0, 1.5, 2.0"
    );
    std::fs::write(folder.path().join("bad.toml"), "[data]\nroot = 3\n").unwrap();
    let line = refusal(folder.path(), &["train", "--config", "bad.toml"], 2);
    assert_eq!(
        line.trim_end(),
        "error: bad.toml: data.root is 3; accepted: a path"
    );
}

#[test]
fn a_refused_value_is_named_by_its_whole_key() {
    let folder = workplace();
    for (key, value) in [
        ("data.validation", "0.001"),
        ("data.normalization", "{mean=[0.5], std=[0.5]}"),
        ("data.options.size", "0"),
        ("data.augmentation.crop_padding", "999"),
        ("data.augmentation.color_jitter.hue", "0.7"),
        ("data.augmentation.rand_augment.magnitude", "99"),
        ("data.augmentation.random_erasing.probability", "2"),
        ("data.augmentation.mixing.mixup", "-1"),
        ("model.split_ratio", "1.5"),
        ("model.repeats", "[3, 7, 3000]"),
        ("optimizer.momentum", "1"),
        ("train.ema_decay", "1"),
        ("loss.label_smoothing", "1"),
        ("schedule.warmup_epochs", "-1"),
        ("checkpoint.every_minutes", "-1"),
    ] {
        let line = refused_training(folder.path(), &format!("{key}={value}"), 2);
        // What only the data can refuse has no origin.
        let line = line.replace(&format!("--set {key}={value}: "), "");
        assert!(line.starts_with(&format!("error: {key}")), "{line}");
    }
}

#[test]
fn the_resolved_experiment_can_be_printed_and_read_again() {
    let folder = workplace();
    let arguments = ["train", "--config", "trial.toml", "--print-config"];
    let assert = shufflenet(folder.path(), &arguments).assert().success();
    std::fs::write(
        folder.path().join("again.toml"),
        &assert.get_output().stdout,
    )
    .unwrap();
    let again = ["train", "--config", "again.toml", "--print-config"];
    let assert_again = shufflenet(folder.path(), &again).assert().success();
    assert_eq!(assert.get_output().stdout, assert_again.get_output().stdout);
}
